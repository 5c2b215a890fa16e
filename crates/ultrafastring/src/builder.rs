//! How a ring is to be: chosen once, when it is made.

#[cfg(feature = "std")]
use std::os::fd::AsFd;
#[cfg(feature = "std")]
use std::os::unix::net::UnixStream;
#[cfg(feature = "std")]
use std::path::{Path, PathBuf};
#[cfg(feature = "std")]
use std::{string::String, vec::Vec};

use crate::layout::{Geometry, Redelivery, Sharing, SideMemory, Timestamps};
use crate::participant::ParticipantName;
use crate::segment::Segment;
use crate::wait;
use crate::{INLINE_SIZE, PriorityClass, RingError, UltraFastRing};
#[cfg(feature = "std")]
use crate::{Observer, Trust, segment::file::Rights};

/// Slots of a ring whose capacity nobody chose.
pub const DEFAULT_CAPACITY: usize = 256;

/// Entries of a participant table whose size nobody chose.
pub const DEFAULT_PARTICIPANTS: usize = 64;

/// Chooses how a ring is to be, and makes or opens it.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, Timestamps, UltraFastRing};
///
/// let ring = UltraFastRing::builder()
///     .capacity(1024)
///     .exclusive_producer()
///     .timestamps(Timestamps::OneIn(16))
///     .credit_limit(512)
///     .reserve(PriorityClass::RealTime, 32)
///     .heap()?;
/// let mut producer = ring.exclusive_producer()?;
/// assert!(ring.exclusive_producer().is_err()); // there is one
/// producer.try_send(b"tick", PriorityClass::RealTime)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    capacity: usize,
    participants: usize,
    max_message: usize,
    side_memory: SideMemory,
    #[cfg(feature = "std")]
    huge_pages: bool,
    #[cfg(feature = "std")]
    trust_peers: bool,
    producer_sharing: Sharing,
    consumer_sharing: Sharing,
    timestamps: Timestamps,
    redelivery: Redelivery,
    credit_limit: Option<u64>,
    reserves: [u64; PriorityClass::COUNT],
    name: ParticipantName,
    fences: bool,
    #[cfg(feature = "std")]
    directory: PathBuf,
    #[cfg(feature = "std")]
    trust: Trust,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// 256 slots, messages up to 40 bytes, both sides shared, a timestamp on every message, credit for the whole ring,
    /// nothing reserved, 64 participants, redelivery, in `/dev/shm`, for the own user alone.
    pub fn new() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            participants: DEFAULT_PARTICIPANTS,
            max_message: INLINE_SIZE,
            side_memory: SideMemory::OnDemand,
            #[cfg(feature = "std")]
            huge_pages: false,
            #[cfg(feature = "std")]
            trust_peers: false,
            producer_sharing: Sharing::Shared,
            consumer_sharing: Sharing::Shared,
            timestamps: Timestamps::Every,
            redelivery: Redelivery::Redeliver,
            credit_limit: None,
            reserves: [0; PriorityClass::COUNT],
            name: ParticipantName::default(),
            fences: false,
            #[cfg(feature = "std")]
            directory: crate::segment::file::DEFAULT_DIRECTORY.into(),
            #[cfg(feature = "std")]
            trust: Trust::OwnUser,
        }
    }

    /// Slots: a power of two up to [`MAX_CAPACITY`](crate::layout::MAX_CAPACITY).
    pub fn capacity(mut self, slots: usize) -> Self {
        self.capacity = slots;
        self
    }

    /// Entries of the participant table: how many handles there can be at a time.
    pub fn participants(mut self, entries: usize) -> Self {
        self.participants = entries;
        self
    }

    /// Bytes of the largest message, up to [`MAX_MESSAGE`](crate::layout::MAX_MESSAGE): 40 at
    /// first, and never less, since a slot holds as many. More than 40 give each slot a side buffer of
    /// this size, in which larger messages travel; smaller ones stay in the slot. What is never touched
    /// costs no memory, see [`side_memory`](Self::side_memory); [`pages`](Self::pages) says how much
    /// there can be.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().capacity(8).max_message(1 << 20).heap()?;
    /// let image = vec![7; 300_000];
    /// ring.send_fast(&image, PriorityClass::Normal)?;
    /// let mut received = Vec::new();
    /// ring.recv_into(&mut received)?;
    /// assert_eq!(received, image);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// When the memory of the side buffers is taken.
    pub fn side_memory(mut self, memory: SideMemory) -> Self {
        self.side_memory = memory;
        self
    }

    /// How many producers there may be at a time.
    pub fn producer_side(mut self, sharing: Sharing) -> Self {
        self.producer_sharing = sharing;
        self
    }

    /// How many consumers there may be at a time.
    pub fn consumer_side(mut self, sharing: Sharing) -> Self {
        self.consumer_sharing = sharing;
        self
    }

    /// One producer at a time.
    pub fn exclusive_producer(self) -> Self {
        self.producer_side(Sharing::Exclusive)
    }

    /// One consumer at a time.
    pub fn exclusive_consumer(self) -> Self {
        self.consumer_side(Sharing::Exclusive)
    }

    /// Which messages carry a timestamp.
    pub fn timestamps(mut self, timestamps: Timestamps) -> Self {
        self.timestamps = timestamps;
        self
    }

    /// What becomes of messages that a consumer held when it died.
    pub fn redelivery(mut self, redelivery: Redelivery) -> Self {
        self.redelivery = redelivery;
        self
    }

    /// How many messages may be in flight: 1 to the capacity, which is also what holds if nobody
    /// chooses.
    pub fn credit_limit(mut self, messages: u64) -> Self {
        self.credit_limit = Some(messages);
        self
    }

    /// Credits that only `class` and more urgent ones can use; 0 at first.
    pub fn reserve(mut self, class: PriorityClass, credits: u64) -> Self {
        self.reserves[class.index()] = credits;
        self
    }

    /// The name under which handles of this ring, as opened here, appear to people: up to 64
    /// bytes. The program's own name if nobody chooses.
    pub fn participant_name(mut self, name: &str) -> Self {
        self.name = ParticipantName::new(name);
        self
    }

    /// Has producers and consumers of this ring fence before they look whether somebody sleeps,
    /// some fifty ticks a message, instead of being fenced by those who are about to
    /// (`membarrier`). It comes about by itself when somebody takes part who cannot use
    /// `membarrier`, where the kernel or a sandbox does not have it.
    pub fn fences(mut self) -> Self {
        self.fences = true;
        self
    }

    /// The ring in a segment, with what this builder chooses for this process.
    #[cfg_attr(not(feature = "std"), expect(unused_mut))]
    fn over(&self, mut segment: Segment) -> UltraFastRing {
        #[cfg(feature = "std")]
        {
            if self.huge_pages {
                segment.advise_huge_pages();
            }
            if self.trust_peers {
                segment.trust_peers();
            }
        }
        if self.fences {
            wait::demand_fences(&segment);
        }
        wait::prepare();
        UltraFastRing::over(segment, self.name)
    }

    fn geometry(&self) -> Geometry {
        Geometry {
            capacity: self.capacity,
            participants: self.participants,
            side_size: if self.max_message > INLINE_SIZE { self.max_message } else { 0 },
            producer_sharing: self.producer_sharing,
            consumer_sharing: self.consumer_sharing,
            timestamps: self.timestamps,
            redelivery: self.redelivery,
            credit_limit: self.credit_limit.unwrap_or(self.capacity as u64),
            reserves: self.reserves,
            ticks_per_second: 0.0,
            clock_stable: false,
            creator_pid: 0,
            created: 0,
            identity: 0,
        }
    }

    /// Checks the chosen numbers as making the ring would, and makes nothing. Does not check whether
    /// there is enough memory.
    ///
    /// ```
    /// use ultrafastring::Builder;
    ///
    /// assert!(Builder::new().capacity(4096).validate().is_ok());
    /// assert!(Builder::new().capacity(1000).validate().is_err()); // no power of two
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::Invalid`] if a number is out of range.
    pub fn validate(&self) -> Result<(), RingError> {
        Ok(self.geometry().validate()?)
    }

    /// Makes a ring on the heap, for threads of one process.
    ///
    /// As in [`create`](Self::create), the first ring of a process takes some milliseconds. A process
    /// that is going to forbid itself the system call `membarrier` does so before it makes or opens
    /// a ring: the calls on `&UltraFastRing` go to places that threads own, and those of threads that
    /// have ended cannot be taken over without it.
    ///
    /// # Errors
    ///
    /// [`RingError::Invalid`] if a number is out of range, [`RingError::OutOfMemory`].
    #[cfg(any(feature = "alloc", loom))]
    pub fn heap(&self) -> Result<UltraFastRing, RingError> {
        Ok(self.over(Segment::heap(self.geometry(), self.side_memory)?))
    }

    /// Makes a ring in `memory` that is lent for ever, for programs without an allocator: as many
    /// pages as [`pages`](Self::pages) says.
    ///
    /// ```
    /// use ultrafastring::{Builder, Page, PriorityClass};
    ///
    /// let builder = Builder::new().capacity(64).participants(4);
    /// let memory = vec![Page::ZERO; builder.pages()].leak();
    /// let ring = builder.lent(memory)?;
    /// ring.send_fast(b"no allocator", PriorityClass::Normal)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::Invalid`] if a number is out of range, [`RingError::OutOfMemory`] if `memory`
    /// is too small.
    #[cfg(not(loom))]
    pub fn lent(
        &self,
        memory: &'static mut [crate::segment::Page],
    ) -> Result<UltraFastRing, RingError> {
        Ok(self.over(Segment::lent(memory, self.geometry())?))
    }

    /// Pages of 4096 bytes that a ring of this kind takes.
    pub fn pages(&self) -> usize {
        self.geometry().offsets().end / crate::layout::PAGE
    }
}

/// Named rings.
#[cfg(feature = "std")]
impl Builder {
    /// The directory of the ring's file, instead of `/dev/shm`. It should be on a file system in
    /// memory (tmpfs): elsewhere the kernel writes the ring to the disk now and then.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Who may take part: whom a new ring lets in, and whose rings are opened. The own user alone
    /// unless asked otherwise.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Whether to ask the system for huge pages for the side buffers, as mapped here: advice, which
    /// it follows if it is set to. For rings on the heap `madvise` in
    /// `/sys/kernel/mm/transparent_hugepage/enabled` is enough; for named ones `advise` in
    /// `shmem_enabled` there.
    pub fn huge_pages(mut self, ask: bool) -> Self {
        self.huge_pages = ask;
        self
    }

    /// Vouches for all who share a named ring that is made or opened by this builder, so that its
    /// handles can be [`Trusted`](crate::Trusted): messages are then read and written in place as
    /// slices. A ring on the heap needs no vouching.
    ///
    /// # Safety
    ///
    /// For as long as the ring is open here, every process that has it mapped accesses it through
    /// this library only, and none of them writes elsewhere into its memory by a bug of its own.
    pub unsafe fn trust_peers(mut self) -> Self {
        self.trust_peers = true;
        self
    }

    fn named_geometry(&self) -> Geometry {
        let clock = crate::clock::Clock::calibrated();
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Geometry {
            ticks_per_second: clock.ticks_per_second,
            clock_stable: clock.stable,
            creator_pid: std::process::id(),
            created: since_1970.map_or(0, |time| time.as_nanos() as u64),
            ..self.geometry()
        }
    }

    /// Makes the ring called `name`, for processes. It appears under its name whole or not at
    /// all, with its memory, and only those whom [`trust`](Self::trust) says can open it.
    ///
    /// The first ring of a process takes some milliseconds: the clock is measured, and where the
    /// process has several threads the kernel takes some more to let it join the sleepers'
    /// `membarrier`, and its own threads'. Opening a first ring waits for the latter too. Taking a
    /// handle does not.
    ///
    /// # Errors
    ///
    /// [`RingError::NameTaken`] if there is one, [`RingError::Invalid`], [`RingError::BadName`],
    /// [`RingError::NoDirectory`], [`RingError::LooseDirectory`], [`RingError::NoSpace`],
    /// [`RingError::FileSizeLimit`], [`RingError::OutOfMemory`], [`RingError::NoDescriptors`],
    /// [`RingError::NoLocks`], [`RingError::PermissionDenied`], [`RingError::Io`].
    pub fn create(&self, name: &str) -> Result<UltraFastRing, RingError> {
        let geometry = self.named_geometry();
        let segment =
            Segment::create(&self.directory, name, geometry, self.trust, self.side_memory)?;
        Ok(self.over(segment))
    }

    /// Opens the ring called `name`. What was chosen when it was made holds; of this builder's
    /// choices only the directory, the participant's name and whom it trusts matter.
    ///
    /// # Errors
    ///
    /// [`RingError::NoSuchRing`], [`RingError::NoDirectory`], [`RingError::NotARing`],
    /// [`RingError::LayoutVersion`], [`RingError::BadLockFile`], [`RingError::ForeignOwner`],
    /// [`RingError::LooseMode`], [`RingError::LooseDirectory`], [`RingError::PermissionDenied`],
    /// [`RingError::BeingRemoved`], [`RingError::NoLocks`], [`RingError::OutOfMemory`],
    /// [`RingError::NoDescriptors`], [`RingError::BadName`], [`RingError::Io`].
    pub fn open(&self, name: &str) -> Result<UltraFastRing, RingError> {
        let segment = Segment::open(&self.directory, name, Rights::Participate, self.trust)?;
        Ok(self.over(segment))
    }

    /// Opens the ring called `name` to look at it: without the right to write or to lock, and without
    /// disturbing anybody. The file need only be readable: to let other users look, change its mode to
    /// 0644 and leave its lock file's as it is. All of its slots are mapped at once.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn observe(&self, name: &str) -> Result<Observer, RingError> {
        Ok(Observer::over(Segment::open(&self.directory, name, Rights::Observe, self.trust)?))
    }

    /// Makes a ring without a name, for processes to which it is handed over a Unix socket with
    /// [`hand_to`](UltraFastRing::hand_to). Its memory is a sealed file: nobody who has it can make
    /// it shorter.
    ///
    /// # Errors
    ///
    /// [`RingError::NoMemoryFile`] where the system forbids such files, [`RingError::Invalid`],
    /// [`RingError::NoSpace`], [`RingError::FileSizeLimit`], [`RingError::OutOfMemory`],
    /// [`RingError::NoDescriptors`], [`RingError::Io`].
    pub fn anonymous(&self) -> Result<UltraFastRing, RingError> {
        let segment = Segment::anonymous(self.named_geometry(), self.trust, self.side_memory)?;
        Ok(self.over(segment))
    }

    /// Takes an anonymous ring that the process at the other end of a Unix socket hands over with
    /// [`hand_to`](UltraFastRing::hand_to); waits for it as long as the socket does (see
    /// [`UnixStream::set_read_timeout`]).
    ///
    /// Nothing is believed: neither the sender, who must be one that [`trust`](Self::trust) allows
    /// (by the credentials of when the sockets were connected), nor the files, which must be
    /// memory files that are sealed against changes of their size, and hold a ring of exactly that size
    /// and its locks.
    ///
    /// # Errors
    ///
    /// [`RingError::ForeignPeer`], [`RingError::NotHandedOver`], [`RingError::NotARing`],
    /// [`RingError::LayoutVersion`], [`RingError::NoDescriptors`], [`RingError::OutOfMemory`],
    /// [`RingError::Io`], also when the socket's time-out has passed.
    pub fn take_from(&self, socket: &UnixStream) -> Result<UltraFastRing, RingError> {
        let segment = Segment::take_over(socket.as_fd(), Rights::Participate, self.trust)?;
        Ok(self.over(segment))
    }

    /// As [`take_from`](Self::take_from), to look at the ring only: takes what is handed over with
    /// [`hand_to`](UltraFastRing::hand_to) or
    /// [`hand_to_observer`](UltraFastRing::hand_to_observer).
    ///
    /// # Errors
    ///
    /// As [`take_from`](Self::take_from).
    pub fn observe_from(&self, socket: &UnixStream) -> Result<Observer, RingError> {
        Ok(Observer::over(Segment::take_over(socket.as_fd(), Rights::Observe, self.trust)?))
    }

    /// Opens the ring called `name`, or makes it if there is none. Two processes that do this at
    /// once end with one ring.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<UltraFastRing, RingError> {
        /// Who makes and removes the ring for ever, in step with us, is not played along with.
        const MOST_ATTEMPTS: u32 = 1_000;
        for _ in 1..MOST_ATTEMPTS {
            match self.open(name) {
                Err(RingError::NoSuchRing { .. }) => {}
                done => return done,
            }
            match self.create(name) {
                // Somebody else was faster; and if that one is gone again, so was its remover.
                Err(RingError::NameTaken { .. }) => {}
                done => return done,
            }
        }
        self.open(name)
    }

    /// Takes the name of a ring away. Those who have it open go on with it; its memory is freed
    /// when the last of them leaves. A ring of another layout version, or a damaged one, is removed
    /// too; what is no ring stays.
    ///
    /// # Errors
    ///
    /// [`RingError::NoSuchRing`], [`RingError::NotARing`], [`RingError::NoDirectory`],
    /// [`RingError::PermissionDenied`], [`RingError::BadName`], [`RingError::BeingRemoved`],
    /// [`RingError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), RingError> {
        crate::segment::names::remove(&self.directory, name)
    }

    /// Removes the ring called `name`, and its messages, if nobody alive has it open. Returns whether
    /// it did.
    ///
    /// It never takes the name away from somebody who is opening the ring at that moment: either the
    /// opener has the ring and it stays, or the ring is removed and the opener finds none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); [`RingError::PermissionDenied`] or [`RingError::Io`] if the files
    /// cannot be removed.
    pub fn remove_stale(&self, name: &str) -> Result<bool, RingError> {
        crate::segment::names::remove_stale(&self.directory, name, self.trust)
    }

    /// Removes the files that no ring needs from the directory: those of processes that died while they
    /// made or removed a ring. Returns how many it removed. They are in nobody's way, and making or
    /// removing a ring of the same name removes them, too.
    ///
    /// # Errors
    ///
    /// [`RingError::NoDirectory`], [`RingError::Io`] if the directory cannot be read.
    pub fn sweep(&self) -> Result<usize, RingError> {
        crate::segment::names::sweep(&self.directory)
    }

    /// The names of the rings in the directory, sorted; a file may be named like a ring and not
    /// be one, which opening it will tell.
    ///
    /// # Errors
    ///
    /// [`RingError::NoDirectory`], [`RingError::Io`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<String>, RingError> {
        crate::segment::names::names_in(&self.directory)
    }

    /// Where the file of the ring called `name` is, or would be.
    ///
    /// # Errors
    ///
    /// [`RingError::BadName`].
    pub fn path(&self, name: &str) -> Result<PathBuf, RingError> {
        crate::segment::names::path_of(Path::new(&self.directory), name)
    }
}
