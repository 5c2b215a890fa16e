//! Processes that are forked from a test: to work beside it, to be killed at a moment that it
//! chooses, or to be led (ptrace(2)) from one instruction, or one system call, to the next.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Another process, which ends with the thread that began it at the latest.
#[derive(Debug)]
pub(crate) struct Child(libc::pid_t);

/// Where one that is led has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Led {
    Stopped,
    /// It has come to a good end.
    Finished,
}

impl Child {
    /// One that does `work` and ends.
    pub(crate) fn start(work: impl FnOnce()) -> Self {
        Self::fork(|| {
            work();
            0
        })
    }

    /// One that ends with the code that `work` gives: see [`code`](Self::code).
    pub(crate) fn fork(work: impl FnOnce() -> i32) -> Self {
        // SAFETY: the child uses the C library and the ring only, which mind forks, and ends
        // without returning.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            // Whatever becomes of the parent, nobody stays behind.
            // SAFETY: touches no memory.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(1);
            // SAFETY: ends the process and runs nothing of the parent's.
            unsafe { libc::_exit(code) };
        }
        Self(child)
    }

    /// One that has done `work`, and lives on with what that gave until it is killed.
    pub(crate) fn live_after<T>(work: impl FnOnce() -> T) -> Self {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let child = Self::start(|| {
            let _kept = work();
            std::io::Write::write_all(&mut writer, b"x").unwrap();
            loop {
                // SAFETY: waits for a signal and touches nothing.
                unsafe { libc::pause() };
            }
        });
        drop(writer);
        let said = std::io::Read::read(&mut reader, &mut [0]).unwrap();
        assert_eq!(said, 1, "the child failed before it was to die");
        child
    }

    /// One does `work`, and is killed where that ends, with all it has.
    pub(crate) fn die_after<T>(work: impl FnOnce() -> T) {
        Self::live_after(work).kill();
    }

    /// One that has done `prepare` at full speed, is stopped before `work`, and goes on when it is
    /// led. What it has is not dropped: it dies with it.
    pub(crate) fn lead<T>(prepare: impl FnOnce() -> T, work: impl FnOnce(&mut T)) -> Self {
        let child = Self::start(|| {
            let mut prepared = prepare();
            // SAFETY: these touch no memory; the stop waits for the parent.
            unsafe {
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::raise(libc::SIGSTOP);
            }
            work(&mut prepared);
            std::mem::forget(prepared);
        });
        assert!(libc::WIFSTOPPED(child.wait()), "the child failed before its work");
        child.trace(libc::PTRACE_SETOPTIONS, TRACING as usize);
        child
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        self.0
    }

    /// The next that the kernel has to tell of it: a stop or its end, as a status.
    pub(crate) fn wait(&self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is written and nothing else.
        assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, 0) }, self.0);
        status
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: a signal to our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.0, signal) }, 0);
    }

    /// Kills it as the kernel's memory killer would, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
        loop {
            let status = self.wait();
            assert!(!libc::WIFEXITED(status), "the child ended before it was to die: {status:#x}");
            if libc::WIFSIGNALED(status) {
                return;
            }
        }
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub(crate) fn finish(self) {
        assert_eq!(self.code(), 0, "the child failed");
    }

    /// Waits for its end, which must not be by a signal; the code it ended with.
    #[track_caller]
    pub(crate) fn code(self) -> i32 {
        let status = self.wait();
        assert!(!libc::WIFSIGNALED(status), "killed by signal {}", libc::WTERMSIG(status));
        assert!(libc::WIFEXITED(status), "status {status:#x}");
        libc::WEXITSTATUS(status)
    }

    // -- led on
    // ------------------------------------------------------------------------------------

    /// Stops one that is at work, to be led on.
    pub(crate) fn seize(&self) {
        self.trace(libc::PTRACE_SEIZE, 0);
        self.trace(libc::PTRACE_INTERRUPT, 0);
        assert!(libc::WIFSTOPPED(self.wait()));
    }

    /// Leads it on by one instruction.
    pub(crate) fn step(&self) -> Led {
        self.trace(libc::PTRACE_SINGLESTEP, 0);
        self.led()
    }

    /// Has it run on at full speed to where it is about to do the instruction at `address` for the
    /// `time`th time from here, the first being 1. Each round of an instruction that repeats itself
    /// counts, as it does for one who leads it there by [`step`](Self::step).
    pub(crate) fn run_to(&self, address: u64, time: u64) -> Led {
        let there = self.word(address);
        let mut times = u64::from(at(&self.registers()) == address);
        while times < time {
            if at(&self.registers()) == address {
                if self.step() == Led::Finished {
                    return Led::Finished;
                }
                times += u64::from(at(&self.registers()) == address);
                continue;
            }
            self.set_word(address, (there & !BREAKPOINT_BITS) | BREAKPOINT);
            self.trace(libc::PTRACE_CONT, 0);
            if self.led() == Led::Finished {
                return Led::Finished;
            }
            self.set_word(address, there);
            let mut registers = self.registers();
            set_at(&mut registers, address);
            self.set_registers(registers);
            times += 1;
        }
        Led::Stopped
    }

    /// Leads it on to where a system call begins, or where that ends, in turn.
    pub(crate) fn step_to_call(&self) -> Led {
        self.trace(libc::PTRACE_SYSCALL, 0);
        self.led()
    }

    fn led(&self) -> Led {
        let status = self.wait();
        if libc::WIFEXITED(status) {
            assert_eq!(libc::WEXITSTATUS(status), 0, "the child failed at its work");
            return Led::Finished;
        }
        assert!(libc::WIFSTOPPED(status), "status {status:#x}");
        Led::Stopped
    }

    /// Leads it no more: it goes on by itself.
    pub(crate) fn let_go(&self) {
        self.trace(libc::PTRACE_DETACH, 0);
    }

    /// Its registers, while it is stopped.
    pub(crate) fn registers(&self) -> libc::user_regs_struct {
        // SAFETY: plain numbers.
        let mut registers = unsafe { std::mem::zeroed() };
        self.transfer(libc::PTRACE_GETREGSET, &mut registers);
        registers
    }

    pub(crate) fn set_registers(&self, mut registers: libc::user_regs_struct) {
        self.transfer(libc::PTRACE_SETREGSET, &mut registers);
    }

    fn transfer(&self, request: Request, registers: &mut libc::user_regs_struct) {
        const NT_PRSTATUS: libc::c_int = 1;
        let iov_len = size_of_val(registers);
        let mut room = libc::iovec { iov_base: ptr::from_mut(registers).cast(), iov_len };
        // SAFETY: the child is ours and stopped, and there is so much room.
        let done = unsafe { libc::ptrace(request, self.0, NT_PRSTATUS, &raw mut room) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// A word of its memory, while it is stopped.
    pub(crate) fn word(&self, at: u64) -> u64 {
        // SAFETY: reads a word of the child's and touches nothing of ours.
        unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.0, at, 0) as u64 }
    }

    fn set_word(&self, at: u64, word: u64) {
        // SAFETY: writes a word of the child's, in its own copy of the page.
        let done = unsafe { libc::ptrace(libc::PTRACE_POKETEXT, self.0, at, word) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// A request that touches no memory of ours.
    fn trace(&self, request: Request, data: usize) {
        // SAFETY: as above, and the child is ours.
        let done = unsafe { libc::ptrace(request, self.0, 0, data) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

/// The address of the next instruction.
pub(crate) fn at(registers: &libc::user_regs_struct) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return registers.rip;
    #[cfg(target_arch = "aarch64")]
    return registers.pc;
}

fn set_at(registers: &mut libc::user_regs_struct, address: u64) {
    #[cfg(target_arch = "x86_64")]
    (registers.rip = address);
    #[cfg(target_arch = "aarch64")]
    (registers.pc = address);
}

/// An instruction that stops who does it, and the bits of a word that it takes. On x86 the next
/// instruction is then the one after it (`int3`), on Arm it is still the same (`brk #0`).
const BREAKPOINT: u64 = if cfg!(target_arch = "x86_64") { 0xcc } else { 0xd420_0000 };
const BREAKPOINT_BITS: u64 = if cfg!(target_arch = "x86_64") { 0xff } else { 0xffff_ffff };

/// How requests are numbered.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// Stops at system calls are told from others, and whoever is led ends with who leads it.
const TRACING: libc::c_int = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
