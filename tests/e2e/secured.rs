//! A broker that asks who we are and what we may do: SASL PLAIN and SCRAM, TLS, ACLs.

use crate::broker::{Broker, create_topic, free_port};
use crate::daemon::{Setup, unique};
use crate::fleet::Fleet;
use crate::topic::Writer;
use crate::wait_for;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PASSWORD: &str = "correct-horse-battery";

struct Secured {
    broker: Broker,
    plain: u16,
    scram: u16,
    folder: tempfile::TempDir,
}

impl Secured {
    /// Whoever comes to the first port is a super user; `offkey` may log in on two more and may do nothing yet.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("broker.p12");
        let keytool = |args: &[&str]| {
            let common = ["-alias", "broker", "-storepass", PASSWORD, "-keystore"];
            let said = Command::new("keytool").args(args).args(common).arg(&keys).output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
            said.stdout
        };
        let san = "san=ip:127.0.0.1,dns:localhost";
        let made =
            ["-genkeypair", "-keyalg", "RSA", "-storetype", "PKCS12", "-validity", "30", "-dname", "CN=localhost"];
        keytool(&[&made[..], &["-ext", san, "-ext", "bc=ca:true"]].concat());
        std::fs::write(folder.path().join("ca.pem"), keytool(&["-exportcert", "-rfc"])).unwrap();
        let ports = (free_port(), free_port());
        let (plain, scram) = (free_port(), free_port());
        let properties = format!(
            r#"listeners=PLAINTEXT://127.0.0.1:{port},PLAIN://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},PLAIN://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PLAIN:SASL_PLAINTEXT,SCRAM:SASL_SSL
inter.broker.listener.name=PLAINTEXT
listener.name.plain.sasl.enabled.mechanisms=PLAIN
listener.name.plain.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_offkey="{PASSWORD}";
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.scram.ssl.keystore.location={keys}
listener.name.scram.ssl.keystore.type=PKCS12
listener.name.scram.ssl.keystore.password={PASSWORD}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"#,
            port = ports.0,
            controller = ports.1,
            keys = keys.display(),
        );
        let mut broker = Broker::prepare("4.4.0", ports, properties);
        broker.format = format!("--add-scram SCRAM-SHA-512=[name=offkey,password={PASSWORD}]");
        broker.resume();
        Self { broker, plain, scram, folder }
    }

    /// Lets `setup` log in; the password comes from a file, as it should.
    fn log_in(&self, setup: &mut Setup, mechanism: &str, password: &str) {
        let secret = self.folder.path().join("password");
        std::fs::write(&secret, format!("{password}\n")).unwrap();
        let (port, protocol) =
            if mechanism == "PLAIN" { (self.plain, "SASL_PLAINTEXT") } else { (self.scram, "SASL_SSL") };
        setup.brokers = format!("127.0.0.1:{port}");
        setup.more = format!(
            "[kafka.properties]\nsecurity.protocol = \"{protocol}\"\nsasl.mechanisms = \"{mechanism}\"\nsasl.username = \"offkey\"\n\
             sasl.password_file = \"{}\"\nssl.ca.location = \"{}\"\n",
            secret.display(),
            self.folder.path().join("ca.pem").display()
        );
    }

    /// Does what a line of the check says, as a super user.
    fn grant(&self, command: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
        let mut words: Vec<&str> = command.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "--bootstrap-server").unwrap();
        words[at + 1] = &self.broker.bootstrap;
        let said = Command::new("java")
            .arg("-cp")
            .arg(target.join("kafka/4.4.0/*"))
            .arg(root.join("tests/kafka/Acls.java"))
            .args(&words[1..])
            .output()
            .unwrap();
        assert!(said.status.success(), "{command}\n{}", String::from_utf8_lossy(&said.stderr));
    }

    /// Grants what the check asks for until it asks for nothing more; what it asked for.
    fn grant_all(&self, setup: &Setup) -> Vec<String> {
        let mut granted = Vec::new();
        for _ in 0..6 {
            let (passed, said) = setup.check("a");
            assert!(!said.contains(PASSWORD));
            if passed {
                return granted;
            }
            let commands: Vec<&str> =
                said.lines().filter_map(|line| line.find("kafka-acls.sh").map(|at| &line[at..])).collect();
            assert!(!commands.is_empty(), "{said}");
            for command in commands {
                self.grant(command);
                granted.push(command.to_owned());
            }
        }
        panic!("it never passes: {granted:#?}\n{}", setup.check("a").1);
    }
}

#[test]
fn the_check_finds_every_missing_permission_and_the_daemon_works_with_what_it_asks_for() {
    let secured = Secured::start();
    let bootstrap = secured.broker.bootstrap.clone();
    let input = unique("secured");
    create_topic(&bootstrap, &input, 2);
    let mut setup = Setup::new(&bootstrap, "secured", &input);

    secured.log_in(&mut setup, "PLAIN", "wrong-password");
    let (passed, said) = setup.check("a");
    assert!(!passed && said.to_lowercase().contains("authentication failed"), "{said}");
    assert!(!said.contains("wrong-password"), "{said}");

    secured.log_in(&mut setup, "PLAIN", PASSWORD);
    let (passed, said) = setup.check("a");
    assert!(!passed);
    assert!(said.contains(&format!("input.topics: User:offkey may not Read topic `{input}`")), "{said}");
    assert!(said.contains("kafka.instance: User:offkey may not Write and Describe transactional.id"), "{said}");
    let granted = secured.grant_all(&setup);
    for wanted in [
        format!("--operation Read --group {}", setup.name),
        format!("--operation Create --topic {}-alerts", setup.name),
        format!("--operation Write --operation Read --topic {}-state", setup.name),
    ] {
        assert!(granted.iter().any(|command| command.contains(&wanted)), "{wanted}: {granted:#?}");
    }

    // The same user by SCRAM over TLS: the daemon does all of it, end to end.
    secured.log_in(&mut setup, "SCRAM-SHA-512", PASSWORD);
    let writer = Writer::to(&bootstrap, &input);
    let mut fleet = Fleet::new(1, 4);
    (0..600).flat_map(|_| fleet.tick()).for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
    writer.flush();
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    setup.wait_until_read();
    let committed = daemon.metric("offkey_commits_total{outcome=\"ok\"}");
    assert!(committed > 0.0);
    // Now the topics are there, and a check beside the daemon really writes; it may ask to see the state topic's settings.
    let before = ["alerts", "scores", "dead"].map(|which| setup.values(which));
    let granted = secured.grant_all(&setup);
    assert!(granted.iter().all(|command| command.contains("--operation DescribeConfigs")), "{granted:#?}");
    let (passed, said) = setup.check("a");
    assert!(passed, "{said}");
    for wanted in ["-alerts` can be written", "-state` can be read and written", "can be used, 1 members now"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // The daemon did not notice, and nobody who reads committed records sees anything of it.
    assert_eq!(daemon.metric("offkey_commits_total{outcome=\"fenced\"}"), 0.0);
    assert_eq!(daemon.metric("offkey_rebalances_total{kind=\"lost\"}"), 0.0);
    assert_eq!(daemon.metric("offkey_rebalances_total{kind=\"revoked\"}"), 0.0);
    assert_eq!(before, ["alerts", "scores", "dead"].map(|which| setup.values(which)));
    assert!(!setup.snapshots().is_empty());
    assert!(is_without_offset(&bootstrap, &setup.name, &input, i32::MAX));
    let (_, dump) = dump(&setup);
    for text in [daemon.log(), said, dump] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    daemon.stop();
    assert_eq!(setup.values("scores").len(), 4 * 600);

    // One right less is one line more.
    secured.grant(&format!(
        "kafka-acls.sh --bootstrap-server x --remove --allow-principal User:offkey --operation Write --topic {}-alerts",
        setup.name
    ));
    let told = wait_for("the broker to know", 60, || {
        let (passed, said) = setup.check("a");
        (!passed).then_some(said)
    });
    assert!(
        told.contains(&format!("output.alerts: User:offkey may not Write topic `{}-alerts`", setup.name)),
        "{told}"
    );
    assert_eq!(told.matches("may not").count(), 1, "{told}");
}

fn dump(setup: &Setup) -> (bool, String) {
    let said = Command::new(env!("CARGO_BIN_EXE_offkey"))
        .args(["check", "--dump", "-c"])
        .arg(setup.config("a", free_port()))
        .output()
        .unwrap();
    (said.status.success(), String::from_utf8_lossy(&said.stdout).into_owned())
}

/// Nothing is committed for this partition.
fn is_without_offset(bootstrap: &str, group: &str, topic: &str, partition: i32) -> bool {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let committed = consumer.committed_offsets(list, Duration::from_secs(30)).unwrap();
    committed.elements().iter().all(|element| element.offset() == Offset::Invalid)
}
