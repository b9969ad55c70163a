//! What is promised on every kind of appliance.

use reinstate_tests::container::apart;
use reinstate_tests::promises;

use crate::replacement::Replacement;

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_replacement_becomes_its_donor() {
    apart("donor-again", |site| promises::a_replacement_becomes_its_donor(&mut Replacement::boot(site)));
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_backup_of_another_model_is_refused_with_both_values_and_nothing_changes() {
    apart("model", |site| promises::a_backup_of_another_model_is_refused(&Replacement::boot(site)));
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn an_abort_changes_nothing() {
    apart("abort", |site| promises::an_abort_changes_nothing(&Replacement::boot(site)));
}
