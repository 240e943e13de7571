import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * The part of kafka-acls.sh that the tests need, from the broker's own jars: java -cp 'jars/*' Acls.java --bootstrap-server B
 * --add|--remove --allow-principal P --operation O... --topic|--group|--transactional-id NAME [--resource-pattern-type T]
 */
class Acls {
    public static void main(String[] args) throws Exception {
        String bootstrap = null, principal = null, name = null;
        boolean add = false, remove = false;
        PatternType pattern = PatternType.LITERAL;
        ResourceType type = null;
        List<AclOperation> operations = new ArrayList<>();
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--add" -> add = true;
                case "--remove" -> remove = true;
                case "--bootstrap-server" -> bootstrap = args[++i];
                case "--allow-principal" -> principal = args[++i];
                case "--operation" -> {
                    String wanted = args[++i].toLowerCase();
                    for (AclOperation one : AclOperation.values()) {
                        if (one.name().replace("_", "").equalsIgnoreCase(wanted)) operations.add(one);
                    }
                }
                case "--topic" -> { type = ResourceType.TOPIC; name = args[++i]; }
                case "--group" -> { type = ResourceType.GROUP; name = args[++i]; }
                case "--transactional-id" -> { type = ResourceType.TRANSACTIONAL_ID; name = args[++i]; }
                case "--resource-pattern-type" -> pattern = PatternType.valueOf(args[++i].toUpperCase());
                default -> throw new IllegalArgumentException(args[i]);
            }
        }
        if (operations.isEmpty() || add == remove) throw new IllegalArgumentException(String.join(" ", args));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            for (AclOperation operation : operations) {
                AclBinding binding = new AclBinding(new ResourcePattern(type, name, pattern),
                        new AccessControlEntry(principal, "*", operation, AclPermissionType.ALLOW));
                if (add) admin.createAcls(List.of(binding)).all().get();
                else admin.deleteAcls(List.of(binding.toFilter())).all().get();
            }
        }
    }
}
