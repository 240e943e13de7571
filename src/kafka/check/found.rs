//! What a check found out, as lines for a person: what is wrong, and the command that grants what is missing.

use crate::config::Kafka;

/// What was found, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What is as it should be.
    pub fine: Vec<String>,
    /// What would keep the daemon from working.
    pub wrong: Vec<String>,
}

/// What an ACL is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// Every transactional id that begins so.
    TransactionalIds(&'a str),
}

/// Says what is missing, and how it is granted.
pub struct Denials {
    brokers: String,
    principal: String,
}

impl Denials {
    /// For the one that this config logs in as.
    pub fn of(kafka: &Kafka) -> Self {
        let name = kafka.restorer.get("sasl.username").unwrap_or("PRINCIPAL");
        Self { brokers: kafka.brokers.clone(), principal: format!("User:{name}") }
    }

    /// `key`: whose resource it is in the config.
    pub fn line(&self, key: &str, resource: Resource<'_>, operations: &[&str]) -> String {
        let (what, flag) = match resource {
            Resource::Topic(name) => (format!("topic `{name}`"), format!("--topic {name}")),
            Resource::Group(name) => (format!("group `{name}`"), format!("--group {name}")),
            Resource::TransactionalIds(start) => (
                format!("transactional.id `{start}` and what begins so"),
                format!("--transactional-id {start} --resource-pattern-type prefixed"),
            ),
        };
        let Self { brokers, principal } = self;
        let flags: String = operations.iter().map(|operation| format!(" --operation {operation}")).collect();
        format!(
            "{key}: {principal} may not {} {what}; this grants it: \
             kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal {principal}{flags} {flag}",
            operations.join(" and ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_resource_and_operation_and_the_command_that_grants_it() {
        let denials = Denials { brokers: "k:9092".to_owned(), principal: "User:offkey".to_owned() };
        assert_eq!(
            denials.line("output.alerts", Resource::Topic("alerts"), &["Write"]),
            "output.alerts: User:offkey may not Write topic `alerts`; this grants it: kafka-acls.sh --bootstrap-server k:9092 --add \
             --allow-principal User:offkey --operation Write --topic alerts"
        );
        let ids = denials.line("kafka.group", Resource::TransactionalIds("offkey-g-"), &["Write", "Describe"]);
        assert!(ids.ends_with(
            "--operation Write --operation Describe --transactional-id offkey-g- --resource-pattern-type prefixed"
        ));
    }
}
