//! The explorations: what is looked at in full, and which flaws are found in it.
//!
//! Each says how many states it has seen (`cargo test … -- --nocapture`). With `NETRUNNER_MODEL=deep` the
//! wider bounds are taken; these want an optimized build and some gigabytes.

use std::time::Duration;

use netrunner_core::spawn::{Leftovers, Notify, Terms};

use crate::explorer::{Explored, explore};
use crate::rules::{CALM, ClientEnd, Flaw, Rules};

const ENDS: &[ClientEnd] = &[ClientEnd::Killed, ClientEnd::Forked, ClientEnd::Executed];
const KILLED: &[ClientEnd] = &[ClientEnd::Killed];

/// One fork is enough for what is no race between processes of the command.
const ONE: Rules = Rules { forks: 1, ..CALM };

const TIMEOUT: Terms = Terms { timeout: Some(Duration::from_millis(300)), ..CALM.terms };

/// Everything at once.
const ALL: Rules = Rules {
    ends: ENDS,
    blows: 2,
    requests: 1,
    detach: true,
    drop: true,
    refresh: true,
    misses: 1,
    ..CALM
};

fn is_deep() -> bool {
    std::env::var_os("NETRUNNER_MODEL").is_some_and(|value| value == "deep")
}

/// Holds every state that can be reached by these rules to the promises.
fn everything_holds(name: &str, rules: Rules) {
    let explored = holds_within(name, rules, usize::MAX);
    assert!(explored.complete, "{name}: not all was seen");
}

fn everything_holds_in_depth(name: &str, rules: Rules) {
    if is_deep() {
        everything_holds(name, rules);
    }
}

fn holds_within(name: &str, rules: Rules, depth: usize) -> Explored {
    let explored = explore(&rules, depth);
    let Explored { states, steps, depth, .. } = explored;
    println!("{name}: {states} states, {steps} steps, {depth} deep");
    if let Some(counterexample) = &explored.broken {
        panic!("{name}: {counterexample}");
    }
    explored
}

#[test]
fn a_command_forks_and_leaves_its_group_as_it_likes() {
    everything_holds("one command", CALM);
    everything_holds("no start to tell", Rules { notify: Notify::End, ..CALM });
    everything_holds_in_depth("three forks", Rules { forks: 3, ..CALM });
}

#[test]
fn p1_the_client_ends_at_every_step() {
    everything_holds("client ends, no fork", Rules { ends: ENDS, forks: 0, ..CALM });
    everything_holds("client ends", Rules { ends: ENDS, ..ONE });
    everything_holds_in_depth("client ends, two forks", Rules { ends: ENDS, ..CALM });
    everything_holds_in_depth(
        "client ends, and time passes",
        Rules { ends: KILLED, lags: 1, ..ONE },
    );
}

#[test]
fn p1_a_blow_comes_with_the_clients_end() {
    let childless = Rules { ends: ENDS, blows: 2, forks: 0, ..CALM };
    everything_holds("client ends, two blows", childless);
    everything_holds_in_depth("client ends, a blow", Rules { ends: KILLED, blows: 1, ..ONE });
    everything_holds_in_depth("client ends, two blows", Rules { ends: KILLED, blows: 2, ..ONE });
}

#[test]
fn p1_the_client_ends_after_it_has_let_go_of_its_guardian() {
    let refreshed = Rules { ends: ENDS, blows: 1, refresh: true, ..CALM };
    everything_holds("client refreshes, a blow", Rules { forks: 0, ..refreshed });
    everything_holds_in_depth("client refreshes, a blow", Rules { forks: 1, ..refreshed });
}

#[test]
fn p2_the_handle_is_dropped_at_every_step() {
    everything_holds("dropped", Rules { drop: true, ..ONE });
    everything_holds("dropped, a blow", Rules { drop: true, blows: 1, forks: 0, ..CALM });
    everything_holds_in_depth("dropped, a blow", Rules { drop: true, blows: 1, ..ONE });
    everything_holds_in_depth("dropped, two forks", Rules { drop: true, ..CALM });
}

#[test]
fn p3_shepherd_and_guardian_are_killed_at_every_step() {
    everything_holds("a blow", Rules { blows: 1, ..ONE });
    everything_holds("two blows", Rules { blows: 2, forks: 0, ..CALM });
    everything_holds_in_depth("a blow, two forks", Rules { blows: 1, ..CALM });
    everything_holds_in_depth("two blows", Rules { blows: 2, ..ONE });
}

#[test]
fn p4_stops_and_kills_come_at_every_step() {
    everything_holds("a request", Rules { requests: 1, detach: true, ..ONE });
    everything_holds("a timeout", Rules { terms: TIMEOUT, ..ONE });
    everything_holds("a request, waiting", Rules { requests: 1, ..ONE }.leaving(Leftovers::Wait));
    everything_holds_in_depth("requests", Rules { requests: 2, ..CALM });
    everything_holds_in_depth("a timeout", Rules { terms: TIMEOUT, requests: 1, ..CALM });
}

#[test]
fn p4_what_is_kept_is_kept_and_nothing_else() {
    let keep = Rules { requests: 1, detach: true, ..ONE }.leaving(Leftovers::Keep);
    everything_holds("kept", keep);
    everything_holds_in_depth("kept, the client ends", Rules { ends: ENDS, ..keep });
    everything_holds_in_depth("kept, a blow", Rules { blows: 1, ..keep });
}

#[test]
fn p5_a_list_of_children_misses_one() {
    everything_holds("a miss", Rules { misses: 1, ..ONE });
    everything_holds("a miss, a blow", Rules { misses: 1, blows: 1, forks: 1, ..CALM });
    everything_holds_in_depth("a miss, a request", Rules { misses: 1, requests: 1, ..CALM });
}

#[test]
fn p5_a_request_about_the_last_command_comes_late() {
    let two = Rules { commands: 2, requests: 1, forks: 0, ..CALM };
    everything_holds("two commands", two);
    everything_holds_in_depth("two commands", Rules { ends: KILLED, forks: 1, ..two });
}

#[test]
fn everything_at_once_holds_as_far_as_it_was_looked_at() {
    holds_within("everything", ALL, if is_deep() { 19 } else { 12 });
}

/// Each flaw is found, as what it is.
#[test]
fn flaws_are_found() {
    let alone = Rules { forks: 0, ..CALM };
    let struck = Rules { blows: 1, ..ONE };
    let ended = Rules { ends: KILLED, blows: 1, ..alone };
    let blind = Rules { misses: 1, ..struck };
    let dropped = Rules { drop: true, blows: 1, ..alone };
    let asked = Rules { requests: 1, ..ONE };
    let refreshed = Rules { ends: ENDS, blows: 1, refresh: true, ..alone };
    let two = Rules { commands: 2, requests: 1, ..alone };
    let flaws = [
        (Flaw::Unarmed, Rules { blows: 1, ..alone }, "P3: the child outlives its shepherd"),
        (Flaw::SweepLost, ONE, "P4: something outlives the child"),
        (Flaw::TimeLost, asked, "P4: something outlives a stop"),
        (Flaw::EmptyTooSoon, ONE, "P4: the end is told, and something is left"),
        (Flaw::HangUpLost, ended, "P6: the shepherd stays behind"),
        (Flaw::StaleHeeded, two, "P9: ended for a reason that nobody gave"),
        (Flaw::NumberKept, asked, "P5: a signal to a reaped number"),
        (Flaw::ToldTwice, two, "P10: an honest shepherd's event is out of turn"),
        (Flaw::QuitLost, ended, "P6: the shepherd stays behind"),
        (Flaw::ZombieLeft, CALM, "P5: a zombie is left"),
        (Flaw::StatusInvented, alone, "P3: a status that is made up"),
        (Flaw::VerdictLost, ended, "P1: something outlives its client"),
        (Flaw::StraysLeft, struck, "P3: something outlives its killed shepherd"),
        (Flaw::EmptyListTrusted, blind, "P3: something outlives its killed shepherd"),
        (Flaw::RetiredIsDeaf, refreshed, "P1: something outlives its client"),
        (Flaw::StandingWrong, ended, "P1: something outlives its client"),
        (Flaw::PatienceEndless, dropped, "P2: something outlives its dropped handle"),
    ];
    for (flaw, rules, promise) in flaws {
        let broken = explore(&Rules { flaw, ..rules }, usize::MAX).broken;
        let broken = broken.unwrap_or_else(|| panic!("{flaw:?} is not found"));
        assert_eq!(broken.broken.0, promise, "{flaw:?}: {broken}");
    }
}
