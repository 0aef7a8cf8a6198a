//! Lists of what can happen to the pair, and such lists out of any bytes at all. The fuzzer's target `pair`
//! is this file (`fuzz/`); `random.rs` makes the lists that tests go through.

use std::ffi::CStr;
use std::time::Duration;

use netrunner_core::message::{CommandId, Reason, Request};
use netrunner_core::spawn::{Leftovers, Notify, Terms};

use crate::kernel::Temper;
use crate::world::World;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Spawn(&'static CStr, Notify, Terms),
    Signal(Which, u8),
    Stop(Which, Reason),
    Kill(Which),
    Detach(Which),
    DropClient { lost: usize },
    Advance(Duration),
    Freeze(Duration),
    ToShepherd(usize),
    ToClient(usize),
    Exit(usize),
    Fork(usize, bool, Temper),
    Pause(usize),
    Wake(usize),
}

/// The command that a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    Last,
    /// The one before: it has ended, and the request comes late.
    Stale,
}

impl Op {
    pub(crate) fn happen(&self, world: &mut World) {
        let command = |which| match which {
            Which::Last => world.last(),
            Which::Stale => CommandId(world.last().0.wrapping_sub(1)),
        };
        match *self {
            Op::Spawn(program, notify, terms) => world.spawn(program, notify, terms),
            Op::Signal(which, signal) => world.ask(&Request::Signal(command(which), signal)),
            Op::Stop(which, reason) => world.ask(&Request::Stop(command(which), reason)),
            Op::Kill(which) => world.ask(&Request::Kill(command(which))),
            Op::Detach(which) => {
                // Only who was told of the start has a child to detach.
                if world.client.runs || matches!(which, Which::Stale) {
                    world.ask(&Request::Detach(command(which)));
                }
            }
            Op::DropClient { lost } => world.drop_client(lost),
            Op::Advance(by) => world.advance(by),
            Op::Freeze(by) => world.freeze(by),
            Op::ToShepherd(most) => {
                world.deliver_to_shepherd(most);
            }
            Op::ToClient(most) => {
                world.deliver_to_client(most);
            }
            Op::Exit(index) => {
                let running = world.kernel.running();
                if !running.is_empty() {
                    world.kernel.end(running[index % running.len()], 0);
                }
            }
            Op::Fork(index, own_group, temper) => {
                let running = world.kernel.running();
                if !running.is_empty() {
                    world.kernel.fork(running[index % running.len()], own_group, temper);
                }
            }
            Op::Pause(index) => {
                let running = world.kernel.running();
                if !running.is_empty() {
                    world.kernel.signal(running[index % running.len()], 19, world.now);
                }
            }
            Op::Wake(index) => {
                let living = world.kernel.living();
                if !living.is_empty() {
                    world.kernel.wake(living[index % living.len()], world.now);
                }
            }
        }
        world.run_shepherd();
    }
}

/// Lets all of it happen, and the client die behind it or stay until everything is over, as the first byte
/// says; the promises are asked of at every moment by [`World`].
pub(crate) fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let dies = bytes.number(2) == 1;
    let mut world = World::new();
    for _ in 0..MOST {
        if bytes.0.is_empty() {
            break;
        }
        let op = bytes.op();
        if dies || !matches!(op, Op::DropClient { .. }) {
            op.happen(&mut world);
        }
    }
    if dies {
        world.drop_client(0);
    }
    world.finish();
}

/// So many at most, or one input would take seconds.
const MOST: usize = 60;

const PROGRAMS: [&CStr; 7] =
    [c"obeys", c"slow", c"ignores", c"breeds", c"unkillable", c"missing", c"unclonable"];

/// What is left of an input. Where it ends, every choice is the first one.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// A number below `limit`, which is at most 65,536.
    fn number(&mut self, limit: usize) -> usize {
        let low = usize::from(self.byte());
        let high = if limit > 256 { usize::from(self.byte()) } else { 0 };
        (high << 8 | low) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.number(from.len())]
    }

    fn millis(&mut self, limit: usize) -> Duration {
        Duration::from_millis(self.number(limit) as u64)
    }

    fn which(&mut self) -> Which {
        self.pick(&[Which::Last, Which::Last, Which::Last, Which::Stale])
    }

    fn temper(&mut self) -> Temper {
        match self.number(5) {
            0 => Temper::Obeys,
            1 => Temper::Slow(Duration::from_millis(1) + self.millis(300)),
            2 => Temper::Ignores,
            3 => Temper::Breeds(self.number(20) as u8),
            _ => Temper::Unkillable,
        }
    }

    fn terms(&mut self) -> Terms {
        let timeout = self.number(2) == 1;
        Terms {
            timeout: timeout.then(|| self.millis(3_000)),
            grace: self.millis(2_000),
            stop_signal: self.pick(&[15, 2, 9, 18, 19, 64]),
            leftover_signal: self.pick(&[None, Some(15), Some(9)]),
            leftovers: self.pick(&[Leftovers::Stop, Leftovers::Wait, Leftovers::Keep]),
        }
    }

    fn op(&mut self) -> Op {
        match self.number(14) {
            0 => {
                let notify = self.pick(&[Notify::Start, Notify::End]);
                Op::Spawn(self.pick(&PROGRAMS), notify, self.terms())
            }
            1 => Op::ToShepherd(1 + self.number(120)),
            2 => Op::ToClient(1 + self.number(120)),
            3 => Op::Advance(self.millis(12_000)),
            4 => Op::Exit(self.number(256)),
            5 => Op::Fork(self.number(256), self.number(2) == 1, self.temper()),
            6 => {
                let reasons = [Reason::Stopped, Reason::IdleTimeout, Reason::OutputLimit];
                Op::Stop(self.which(), self.pick(&reasons))
            }
            7 => Op::Kill(self.which()),
            8 => Op::Signal(self.which(), self.pick(&[1, 2, 9, 15, 18, 19])),
            9 => Op::Detach(self.which()),
            10 => Op::DropClient { lost: self.number(40) },
            11 => Op::Freeze(self.millis(5_000)),
            12 => Op::Pause(self.number(256)),
            _ => Op::Wake(self.number(256)),
        }
    }
}
