//! What is passed on to librdkafka.

use crate::check;
#[cfg(feature = "daemon")]
use crate::{check_as, offkey};
use expect_test::expect;

#[test]
fn what_offkey_sets_itself_is_refused_with_the_reason() {
    check(
        "[kafka.properties]\n\"enable.auto.commit\" = true\nplugin.library.paths = \"evil.so\"\nsasl.password_file = \"/does/not/exist\"",
        expect![[r#"
            78
            offkey: offkey.toml has 3 mistakes:
              kafka.properties.enable.auto.commit: is not yours to set; offsets are committed with the epoch
              kafka.properties.plugin.library.paths: is not yours to set; it loads foreign code
              kafka.properties.sasl.password_file: cannot read `/does/not/exist`: No such file or directory (os error 2); the file has to be readable by offkey, with the secret and nothing else in it
        "#]],
    );
}

#[cfg(feature = "daemon")]
#[test]
fn properties_that_librdkafka_does_not_take_are_told_without_a_broker() {
    let file = "[kafka.properties]\n\"foo.bar\" = \"1\"\n\"security.protocl\" = \"SSL\"\n\"security.protocol\" = \"nonsense\"\n\
                \"fetch.min.bytes\" = 0\n\"sasl.passwort\" = \"canary\"\n\"enable.ssl.certificate.verification\" = \"canary?\"";
    check(
        file,
        expect![[r#"
        78
        offkey: offkey.toml has 6 mistakes:
          kafka.properties.enable.ssl.certificate.verification: Expected bool value for "enable.ssl.certificate.verification": true or false; it takes true, false
          kafka.properties.fetch.min.bytes: Configuration property "fetch.min.bytes" value 0 is outside allowed range 1..100000000; it takes 1 .. 100000000
          kafka.properties.foo.bar: No such configuration property: "foo.bar"; librdkafka's CONFIGURATION.md lists every property with its values
          kafka.properties.sasl.passwort: No such configuration property: "sasl.passwort"; did you mean `sasl.password`?
          kafka.properties.security.protocl: No such configuration property: "security.protocl"; did you mean `security.protocol`?
          kafka.properties.security.protocol: Invalid value "nonsense" for configuration property "security.protocol"; it takes plaintext, ssl, sasl_plaintext, sasl_ssl
    "#]],
    );
    let told = offkey(&["check"], Some(("offkey.toml", file)), &[]);
    for arguments in [&["run"][..], &["model", "list"], &["replay", "rows.csv"]] {
        assert_eq!(offkey(arguments, Some(("offkey.toml", file)), &[]), told);
    }
    check_as(
        "offkey.toml",
        "",
        &[("OFFKEY__KAFKA__PROPERTIES__SECURITY__PROTOCOL", "TLS")],
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          kafka.properties.security.protocol: Invalid value "TLS" for configuration property "security.protocol"; it takes plaintext, ssl, sasl_plaintext, sasl_ssl; set by OFFKEY__KAFKA__PROPERTIES__SECURITY__PROTOCOL
    "#]],
    );
}

#[cfg(feature = "daemon")]
#[test]
fn properties_that_do_not_go_together_are_told_without_a_broker() {
    let secret = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(secret.path(), "canary").expect("a secret in it");
    let secret = secret.path().display();
    for (properties, key) in [
        (
            "\"fetch.max.bytes\" = 1000",
            "kafka.properties.fetch.max.bytes: `fetch.max.bytes` must be >= `message.max.bytes`",
        ),
        ("\"retries\" = 0", "kafka.properties.retries: `retries` must be set >= 1"),
        ("\"security.protocol\" = \"ssl\"\n\"ssl.ca.location\" = \"/nowhere\"", "kafka.properties.ssl.ca.location: "),
        (
            &format!("\"security.protocol\" = \"ssl\"\n\"ssl.key.pem_file\" = \"{secret}\""),
            "kafka.properties.ssl.key.pem_file: ",
        ),
    ] {
        let output = offkey(&["check"], Some(("offkey.toml", &format!("[kafka.properties]\n{properties}"))), &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(78) && told.contains(key) && !told.contains("canary"),
            "{properties}: {told}"
        );
    }
}
