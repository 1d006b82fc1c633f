//! Tests of the configuration, and what they share.

mod form;
mod layering;
mod names;
mod published;
mod rules;
mod secrecy;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::layers::Layers;
use super::{ConfigErrors, FlagOverride, Loaded, Role};

const HOSTNAME: &str = "host-7";

fn environment(variables: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

/// Loads as `load` does, with the file given as text and called `test.yaml`; a coordinator is told that it may be open to
/// the network and which key it shares, since most tests are about something else.
fn load_from(
    role: Role,
    yaml: &str,
    variables: &[(&str, &str)],
    flags: &[FlagOverride],
) -> Result<Loaded, ConfigErrors> {
    let has_word_of = |word: &str| {
        let upper = word.to_ascii_uppercase();
        yaml.contains(word)
            || variables.iter().any(|(name, _)| name.contains(&upper))
            || flags.iter().any(|flag| flag.key.contains(word))
    };
    let mut all = flags.to_vec();
    for (key, word, value) in
        [("cluster.insecure", "insecure", "true"), ("storage.key_file", "key_file", "data.key")]
    {
        if role == Role::Coordinator && !has_word_of(word) {
            all.push(FlagOverride { key, value: value.into(), flag: "--for-the-test" });
        }
    }
    load_as_it_is(role, yaml, variables, &all)
}

fn load_as_it_is(
    role: Role,
    yaml: &str,
    variables: &[(&str, &str)],
    flags: &[FlagOverride],
) -> Result<Loaded, ConfigErrors> {
    let mut layers = Layers::new(role);
    super::file::lay_text(yaml, "test.yaml", &mut layers);
    super::variables::lay(&environment(variables), &mut layers);
    super::lay_flags(flags, &mut layers);
    super::finish(Some(HOSTNAME), layers)
}

fn load_yaml(role: Role, yaml: &str) -> Result<Loaded, ConfigErrors> {
    load_from(role, yaml, &[], &[])
}

fn load_env(role: Role, variables: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    load_from(role, "", variables, &[])
}

/// The messages of a load that must fail, one a line.
#[track_caller]
fn errors(result: Result<Loaded, ConfigErrors>) -> Vec<String> {
    match result {
        Ok(_) => panic!("the configuration was accepted"),
        Err(errors) => errors.errors().iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn loaded(result: Result<Loaded, ConfigErrors>) -> Loaded {
    result.unwrap_or_else(|errors| panic!("{errors}"))
}

#[track_caller]
fn only_error(result: Result<Loaded, ConfigErrors>) -> String {
    let errors = errors(result);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.into_iter().next().unwrap()
}

fn notices(loaded: &Loaded) -> Vec<String> {
    loaded.notices.iter().map(ToString::to_string).collect()
}
