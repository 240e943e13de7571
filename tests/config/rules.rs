//! Rules and their overrides.

use crate::check;
use expect_test::expect;

#[test]
fn overrides_and_patterns_are_checked_too() {
    check(
        "[[override]]\nmatch = \"a[\"\n[[override]]\nthreshold = { level = 3 }\n[[override]]\nmatch = \"b\"\nthreshold = { levl = 3, quantile = 0.9 }\n\
         [[channel]]\nmatch = \"x\"\nvalid_min = 3\nvalid_max = 1\ndirection = \"sideways\"\n[[silence]]\nmatch = \"c\"\nfrom = \"noon\"",
        expect![[r#"
            78
            offkey: offkey.toml has 7 mistakes:
              channel[0].direction: unknown variant `sideways`, expected one of `both`, `up`, `down`
              channel[0].valid_min: 3 is not below valid_max, 1
              override[0].match: error parsing glob 'a[': unclosed character class; missing ']'; `*`, `?`, `[a-z]` and `{a,b}` make patterns
              override[1]: missing field `match`
              override[2].threshold.levl: unknown key; did you mean `level`?
              override[2].threshold.quantile: has no meaning for method "rarity"; take it out, or take another method
              silence[0].from: `noon` is no instant; write it as "2026-01-01T00:00:00Z"
        "#]],
    );
}

#[test]
fn a_mistake_of_a_common_section_is_told_once_and_comes_to_an_end() {
    check(
        "[alert]\nopen_rows = \"x\"\n[threshold]\nmethod = \"raritee\"\n[[override]]\nmatch = \"a\"\nalert = { refractory_rows = 1 }\n\
         threshold = { level = \"x\" }",
        expect![[r#"
            78
            offkey: offkey.toml has 3 mistakes:
              alert.open_rows: invalid type: string "x", expected a whole number
              override[0].threshold.level: invalid type: string "x", expected a number
              threshold.method: unknown variant `raritee`, expected one of `rarity`, `fixed`, `quantile`, `mad`, `mean_sd`, `spot`
        "#]],
    );
}

#[test]
fn rules_that_exclude_each_other_are_told() {
    check(
        "[threshold]\nmethod = \"fixed\"\nbudget = 1.0\n[alert]\nopen_rows = 3\nopen_of = 2\ncritical_ratio = 1.1\n\
         [model]\nkind = \"simple\"\nactivation = \"shrinkage\"\ninit = \"random\"",
        expect![[r#"
            78
            offkey: offkey.toml has 6 mistakes:
              alert.critical_ratio: 1.1 is below warning_ratio, 1.3
              alert.open_rows: 3 is not within 1 and open_of, 2
              model.activation: "shrinkage" is a penalty, and kind "simple" has none; take "linear" or "tanh", or kind "sparse"
              model.passes: is 0, and a random start has to be trained; 10 is a good start
              threshold.budget: has no meaning for method "fixed"; take it out, or take another method
              threshold.level: is missing; method "fixed" needs the level of the score
        "#]],
    );
}
