//! A process that sends or receives inline is killed after each instruction of it, and whoever comes
//! next goes on.
#![cfg(target_arch = "x86_64")]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;

use ultrafastring::{Builder, Finding, PriorityClass, Timestamps, UltraFastRing};

use crate::installed::{C, HERE, program, stage};

/// As in `step.c`: messages in the ring before, and those of the part that counts.
const LEFT: u64 = 4;
const COUNT: u64 = 2;

const NAME: &str = "stepped";

/// `SI_KERNEL`.
const FROM_THE_KERNEL: i32 = 0x80;

/// A child that is traced, and does not outlive a test that fails.
struct Traced(Child);

impl Drop for Traced {
    fn drop(&mut self) {
        // One that has ended is no error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Traced {
    fn start(command: &mut Command) -> Self {
        // SAFETY: a system call, which a child may make before it runs its program.
        let command = unsafe {
            command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let mut this = Self(command.spawn().unwrap());
        // At its `exec`.
        this.stopped();
        this
    }

    fn request(&self, request: libc::c_uint) {
        // SAFETY: a request about a child that is stopped; nothing is written here.
        let done = unsafe { libc::ptrace(request, self.0.id() as i32, 0, 0) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Waits until it stops. Says whether at a breakpoint of its own, and not after a step.
    fn stopped(&mut self) -> bool {
        let (pid, mut status) = (self.0.id() as i32, 0);
        // SAFETY: it writes a number.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert!(libc::WIFSTOPPED(status), "it has ended: {status:#x}");
        assert_eq!(libc::WSTOPSIG(status), libc::SIGTRAP);
        // SAFETY: plain numbers, for which all bits zero are right.
        let mut about: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the child is stopped; the structure is written.
        let done = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut about) };
        assert_eq!(done, 0);
        // The kernel says so of `int3`.
        about.si_code == FROM_THE_KERNEL
    }

    /// Goes on to the next breakpoint.
    fn go_on(&mut self) {
        self.request(libc::PTRACE_CONT);
        assert!(self.stopped());
    }

    /// Takes `steps` steps; `false` if the part that counts ends before.
    fn step(&mut self, steps: usize) -> bool {
        (0..steps).all(|_| {
            self.request(libc::PTRACE_SINGLESTEP);
            !self.stopped()
        })
    }
}

/// What is in the ring, and that a new producer and a new consumer go on.
fn taken(ring: &UltraFastRing) -> Vec<u64> {
    let mut producer = ring.producer().unwrap();
    producer.send(&u64::MAX.to_ne_bytes(), PriorityClass::Normal).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let mut numbers = vec![];
    loop {
        let message = consumer.recv().unwrap();
        assert!(!message.is_redelivered());
        match u64::from_ne_bytes(message[..8].try_into().unwrap()) {
            u64::MAX => return numbers,
            number => numbers.push(number),
        }
    }
}

/// The program, as each compiler builds it.
static STEPPED: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let source = Path::new(HERE).join("tests/programs/step.c");
    C.map(|compiler| compiler.compile(&source, &[]))
});

/// After how many steps to kill next. Timestamps make a call of the library due, since a process that
/// is stepped is slow. Its calls are stepped elsewhere, in full.
fn after(steps: usize) -> usize {
    if steps < 200 { steps + 1 } else { steps + 16 }
}

fn kill_after_each_instruction(stepped: &Path, what: &str, timestamps: Timestamps) {
    let directory = stage();
    let rings = Builder::new().directory(directory.path()).participants(16);
    let sides = rings.clone().exclusive_producer().exclusive_consumer();
    let (mut done, mut steps, mut ends) = (vec![], 0, false);
    while !ends {
        let ring = sides.clone().capacity(1024).timestamps(timestamps).create(NAME).unwrap();
        let mut command = program(stepped);
        let mut child = Traced::start(command.arg(what).arg(directory.path()).arg(NAME));
        child.go_on();
        ends = !child.step(steps);
        drop(child);
        let numbers = taken(&ring);
        // What is done of the two messages that are sent, or received.
        let (first, last) = match what {
            "send" => (0, numbers.len() as u64),
            _ => (LEFT - numbers.len() as u64, LEFT),
        };
        assert!(numbers.iter().copied().eq(first..last), "after {steps} steps: {numbers:?}");
        done.push(if what == "send" { last - LEFT } else { first });
        let findings = ring.examine().unwrap();
        assert!(!findings.iter().any(Finding::is_damage), "{findings:?}");
        rings.remove(NAME).unwrap();
        steps = after(steps);
    }
    println!("{} kills of one that is to {what}, {timestamps:?}: {stepped:?}", done.len());
    assert_eq!((done[0], done[done.len() - 1]), (0, COUNT));
    // The library does not always take the same steps.
    let calls = timestamps == Timestamps::Every;
    assert!((calls || done.is_sorted()) && done.contains(&1), "{done:?}");
}

#[test]
fn a_kill_after_any_instruction_of_an_inline_send_harms_nobody() {
    for stepped in STEPPED.iter() {
        kill_after_each_instruction(stepped, "send", Timestamps::Off);
    }
    kill_after_each_instruction(&STEPPED[0], "send", Timestamps::Every);
}

#[test]
fn a_kill_after_any_instruction_of_an_inline_receive_harms_nobody() {
    for stepped in STEPPED.iter() {
        kill_after_each_instruction(stepped, "recv", Timestamps::Off);
    }
    kill_after_each_instruction(&STEPPED[0], "recv", Timestamps::Every);
}
