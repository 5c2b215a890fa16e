//! Processes that may not make some system calls (seccomp(2)): from now on, for the rest of their
//! lives.

#![allow(dead_code)]

pub(crate) use seccompiler::SeccompCmpOp;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Has `call` fail with `errno` in this process; if `only` is given, where this argument compares
/// so with this number.
pub(crate) fn forbid(call: libc::c_long, only: Option<(u8, SeccompCmpOp, u64)>, errno: i32) {
    let rules = only.map(|(argument, is, number)| {
        let length = SeccompCmpArgLen::Dword;
        let condition = SeccompCondition::new(argument, length, is, number).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    });
    let rules = rules.into_iter().collect();
    apply(call, rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32));
}

/// Has this process killed by any system call but this one.
pub(crate) fn forbid_all_but(call: libc::c_long) {
    apply(call, vec![], SeccompAction::KillProcess, SeccompAction::Allow);
}

fn apply(
    call: libc::c_long,
    rules: Vec<SeccompRule>,
    otherwise: SeccompAction,
    action: SeccompAction,
) {
    let processor = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new([(call, rules)].into(), otherwise, action, processor).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}
