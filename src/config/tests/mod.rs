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

/// Loads as `load` does, with the file given as text and called `test.yaml`.
fn load_from(
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
