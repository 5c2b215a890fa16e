//! What this process writes about itself.

use crate::layout::participant::Identity;
#[cfg(feature = "std")]
use crate::layout::participant::Process;
use crate::name::ParticipantName;

impl Identity {
    /// This process, with the name that its program chose, or else its own name.
    #[cfg(feature = "std")]
    pub(crate) fn of_this_process(name: ParticipantName) -> Self {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let own_name = || {
            let path = std::path::PathBuf::from(std::env::args_os().next()?);
            Some(ParticipantName::new(&path.file_name()?.to_string_lossy()))
        };
        let name = if name.as_str().is_empty() { own_name().unwrap_or_default() } else { name };
        let attached = since_1970.map_or(0, |time| time.as_nanos() as u64);
        Self { process: Process::this(), attached, name }
    }

    /// Without an operating system only the name is known.
    #[cfg(not(feature = "std"))]
    pub(crate) fn of_this_process(name: ParticipantName) -> Self {
        Self { name, ..Self::default() }
    }
}
