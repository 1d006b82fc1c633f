//! A secret appears in no print, no `Debug` and no error, wherever it came from.

use proptest::prelude::*;

use super::super::{FlagOverride, LoadRequest, REDACTED, Role, Secret, load, render_effective};
use super::*;

const SECRET: &str = "hunter2-tr0ub4dor";

fn flag(value: &str) -> FlagOverride {
    FlagOverride { key: "database.password", value: value.to_owned(), flag: "--database-password" }
}

#[track_caller]
fn assert_unseen(what: &str, text: &str) {
    assert!(!text.contains(SECRET) && !text.contains("hunter2"), "{what} shows the secret: {text}");
}

#[test]
fn a_secret_is_in_no_print_of_what_was_loaded() {
    let yaml = format!("database: {{host: h, password: {SECRET}}}");
    let sources = [
        (yaml.as_str(), vec![], vec![]),
        ("database: {host: h}", vec![("COORDINATOR_DATABASE_PASSWORD", SECRET)], vec![]),
        ("database: {host: h}", vec![("ZKPNET_DATABASE__PASSWORD", SECRET)], vec![]),
        ("database: {host: h}", vec![], vec![flag(SECRET)]),
    ];
    for (yaml, env, flags) in sources {
        let loaded = loaded(load_from(Role::Coordinator, yaml, &env, &flags));
        assert_eq!(loaded.config.database.password.as_ref().unwrap().expose(), SECRET);
        assert_unseen("Debug of Loaded", &format!("{loaded:?} {loaded:#?}"));
        assert_unseen("Debug of Config", &format!("{:?}", loaded.config));
        assert_unseen("a notice", &notices(&loaded).join("\n"));
        let shown = render_effective(&loaded);
        assert_unseen("the effective configuration", &shown);
        assert!(shown.contains(REDACTED));
    }
}

#[test]
fn a_secret_is_in_no_error() {
    let wrong_places = [
        format!("database: {{password: [{SECRET}]}}"),
        format!("database: {{password: {{{SECRET}: 1}}}}"),
        format!("database: {{password: \"{SECRET}\\0\"}}"),
        format!("database: {{password: &x {SECRET}}}"),
        format!("database: {{password: !x {SECRET}}}"),
        format!("database: {{password: *{SECRET}}}"),
        format!("database: {{password: {}{SECRET}}}", "x".repeat(5000)),
        format!("database: {{password: {SECRET}, password: {SECRET}}}"),
        format!("database: {SECRET}"),
        format!("database: {{passwort: {SECRET}}}"),
        format!("database: {{password: '{SECRET}}}"),
        format!("database:\n  password: a: {SECRET}\n"),
        format!("database:\n  password: '{SECRET}' b\n"),
        format!("database:\n  password: |{SECRET}\n"),
        format!("database:\n  password: \"{SECRET}\\q\"\n"),
        format!("passwords: {SECRET}"),
    ];
    for yaml in wrong_places {
        let result = load_yaml(Role::Coordinator, &yaml);
        let debug = format!("{result:?}");
        let text = result.as_ref().err().map(ToString::to_string);
        assert_unseen(&yaml, &debug);
        assert_unseen(&yaml, &text.unwrap_or_else(|| panic!("{yaml:?} was accepted")));
    }
    let with_nul = format!("{SECRET}\u{1}");
    for result in [
        load_env(Role::Coordinator, &[("COORDINATOR_DATABASE_PASSWORD", &with_nul)]),
        load_env(Role::Coordinator, &[("ZKPNET_DATABASE__PASWORD", SECRET)]),
        load_from(Role::Coordinator, "", &[], &[flag(&with_nul)]),
    ] {
        assert_unseen("Debug", &format!("{result:?}"));
        assert_unseen("the messages", &errors(result).join("\n"));
    }
}

#[test]
fn a_secret_is_in_no_print_of_the_request() {
    let mut request = LoadRequest::new(Role::Coordinator);
    request.env = environment(&[("COORDINATOR_DATABASE_PASSWORD", SECRET)]);
    request.flags = vec![flag(SECRET)];
    assert_unseen("Debug of LoadRequest", &format!("{request:?} {request:#?}"));
    assert!(load(&request).is_err(), "there is no host name");
}

#[test]
fn a_secret_is_redacted_alike_whatever_it_is() {
    for text in ["", "a", SECRET] {
        let secret = Secret::new(text.to_owned());
        assert_eq!(format!("{secret:?} {secret}"), format!("{REDACTED} {REDACTED}"));
        assert_eq!(serde_json::to_string(&secret).unwrap(), format!("\"{REDACTED}\""));
    }
}

proptest! {
    #[test]
    fn no_mangled_file_shows_its_secret(cut in 0usize..60, junk in "[-:\\[\\]{}?,&*!|>'\"\\n a]{0,6}") {
        let yaml = format!("database:\n  host: h\n  password: {SECRET}\n  port: 5432\n");
        let cut = cut.min(yaml.len());
        // Junk inside the secret would only hide a leak from the search.
        let start = yaml.find(SECRET).unwrap();
        prop_assume!(cut <= start || cut >= start + SECRET.len());
        let mangled = format!("{}{junk}{}", &yaml[..cut], &yaml[cut..]);
        let result = load_yaml(Role::Coordinator, &mangled);
        prop_assert!(!format!("{result:?}").contains(SECRET), "{mangled}");
        if let Err(errors) = &result {
            prop_assert!(!errors.to_string().contains(SECRET), "{mangled}: {errors}");
        }
    }
}
