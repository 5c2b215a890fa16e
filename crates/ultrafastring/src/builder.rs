//! The choices for a new ring, and making and opening one.

mod groups;
#[cfg(feature = "alloc")]
mod lanes;
mod sides;
mod statistics;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "std")]
use std::os::fd::AsFd;
#[cfg(feature = "std")]
use std::os::unix::net::UnixStream;
#[cfg(feature = "std")]
use std::path::{Path, PathBuf};
#[cfg(feature = "std")]
use std::string::String;

#[cfg(feature = "std")]
use crate::error::FileError;
use crate::error::RingError;
use crate::layout::header::Geometry;
use crate::name::ParticipantName;
#[cfg(feature = "std")]
use crate::observe::Observer;
use crate::priority::PriorityClass;
use crate::ring::UltraFastRing;
use crate::segment::Segment;
#[cfg(feature = "std")]
use crate::segment::file::Making;
#[cfg(feature = "std")]
use crate::segment::mapping::Rights;
#[cfg(feature = "std")]
use crate::settings::Difference;
use crate::settings::{Choices, INLINE_SIZE, Redelivery, Settings, SideMemory, Timestamps};
#[cfg(feature = "std")]
use crate::trust::Trust;
use crate::waiting::bell;

/// Chooses the settings of a ring, and makes or opens it.
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
#[must_use = "it makes nothing by itself"]
#[derive(Clone, Debug)]
pub struct Builder {
    chosen: Choices,
    #[cfg(feature = "std")]
    accept_existing: bool,
    side_memory: SideMemory,
    /// Whether there is room for others than the groups that it is made with.
    joinable: bool,
    /// The groups that it is made with.
    #[cfg(feature = "alloc")]
    groups: Vec<ParticipantName>,
    /// Whether one of their names cannot be one.
    #[cfg(feature = "alloc")]
    bad_group: bool,
    #[cfg(feature = "std")]
    huge_pages: bool,
    #[cfg(feature = "std")]
    trust_peers: bool,
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
    /// The defaults of [`Settings`], in `/dev/shm`, for this process's user only.
    pub fn new() -> Self {
        Self {
            chosen: Choices::default(),
            #[cfg(feature = "std")]
            accept_existing: false,
            side_memory: SideMemory::OnDemand,
            joinable: false,
            #[cfg(feature = "alloc")]
            groups: Vec::new(),
            #[cfg(feature = "alloc")]
            bad_group: false,
            #[cfg(feature = "std")]
            huge_pages: false,
            #[cfg(feature = "std")]
            trust_peers: false,
            name: ParticipantName::default(),
            fences: false,
            #[cfg(feature = "std")]
            directory: crate::segment::named::DEFAULT_DIRECTORY.into(),
            #[cfg(feature = "std")]
            trust: Trust::OwnUser,
        }
    }

    /// Slots: a power of two up to [`MAX_CAPACITY`](crate::limits::MAX_CAPACITY).
    pub fn capacity(mut self, slots: usize) -> Self {
        self.chosen.capacity = Some(slots);
        self
    }

    /// Entries of the participant table, which limits how many handles can exist at once.
    pub fn participants(mut self, entries: usize) -> Self {
        self.chosen.participants = Some(entries);
        self
    }

    /// Bytes of the largest message, up to [`MAX_MESSAGE`](crate::limits::MAX_MESSAGE). The default
    /// is 40, which a slot holds; smaller values count as 40. More than 40 gives each slot a side
    /// buffer of this size, for messages of more than 40 bytes. Parts of side buffers that are
    /// never touched take no memory; see [`side_memory`](Self::side_memory).
    /// [`pages`](Self::pages) says how much they can take.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().capacity(8).max_message(1 << 20).heap()?;
    /// let image = vec![7; 300_000];
    /// ring.send_fast(&image, PriorityClass::Normal)?;
    /// let mut received = Vec::new();
    /// ring.try_recv_into(&mut received)?;
    /// assert_eq!(received, image);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.chosen.max_message = Some(bytes.max(INLINE_SIZE));
        self
    }

    /// When the memory of the side buffers is taken.
    pub fn side_memory(mut self, memory: SideMemory) -> Self {
        self.side_memory = memory;
        self
    }

    /// Which messages carry a timestamp.
    pub fn timestamps(mut self, timestamps: Timestamps) -> Self {
        self.chosen.timestamps = Some(timestamps);
        self
    }

    /// What happens to messages that a consumer held when it died.
    pub fn redelivery(mut self, redelivery: Redelivery) -> Self {
        self.chosen.redelivery = Some(redelivery);
        self
    }

    /// How many messages may be in flight: 1 to the capacity. The default is the capacity.
    pub fn credit_limit(mut self, messages: u64) -> Self {
        self.chosen.credit_limit = Some(messages);
        self
    }

    /// Credits that only `class` and more urgent classes can use; 0 by default. All reserves
    /// together must be less than the credit limit. A reserve keeps room for urgent messages. It
    /// does not make them overtake: a ring of one lane delivers messages in the order of sending.
    pub fn reserve(mut self, class: PriorityClass, credits: u64) -> Self {
        self.chosen.reserves[class.index()] = Some(credits);
        self
    }

    /// The name that handles of this ring show to users, for a ring that this builder opens: up to
    /// 64 bytes. The default is the program's name.
    pub fn participant_name(mut self, name: &str) -> Self {
        self.name = ParticipantName::new(name);
        self
    }

    /// Makes every producer and consumer of this ring run a memory fence before it looks whether a
    /// peer sleeps, which takes about fifty ticks a message. Without this option a peer that is
    /// about to sleep fences all others by the system call `membarrier`. If a participant cannot
    /// use `membarrier`, because the kernel or a sandbox forbids it, the ring uses fences by
    /// itself.
    pub fn fences(mut self) -> Self {
        self.fences = true;
        self
    }

    /// The ring in a segment, with this builder's choices for this process.
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
            bell::demand_fences(&segment);
        }
        bell::prepare();
        UltraFastRing::over(segment, self.name)
    }

    /// The settings that a ring made by this builder would have. Its credit limit is the capacity,
    /// unless one was chosen.
    pub fn settings(&self) -> Settings {
        self.chosen.of_new()
    }

    /// Chooses everything as in `settings`, for example those of another ring. That includes the
    /// credit limit, so with another capacity choose the credit limit as well.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{Builder, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(1024);
    /// let twin = Builder::new().like(ring.settings()).heap()?;
    /// assert_eq!(twin.settings(), ring.settings());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn like(mut self, settings: &Settings) -> Self {
        self.chosen = Choices::all(settings);
        self
    }

    fn geometry(&self) -> Geometry {
        Geometry::of(self.settings())
    }

    /// Checks the chosen numbers as making the ring would, but makes nothing. It does not check
    /// whether there is enough memory.
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
        #[cfg(feature = "alloc")]
        if self.bad_group {
            return Err(crate::settings::Invalid::GroupName.into());
        }
        Ok(self.geometry().validate()?)
    }

    /// Makes a ring on the heap, for threads of one process.
    ///
    /// As in [`create`](Self::create), the first ring of a process takes some milliseconds.
    ///
    /// A process that forbids itself the system call `membarrier` must do so before it makes or
    /// opens a ring. Otherwise the thread handles of threads that have ended cannot be taken over,
    /// and calls on `&UltraFastRing` run out of them.
    ///
    /// # Errors
    ///
    /// [`RingError::Invalid`] if a number is out of range, [`RingError::OutOfMemory`].
    #[cfg(any(feature = "alloc", loom))]
    pub fn heap(&self) -> Result<UltraFastRing, RingError> {
        self.validate()?;
        let segment = Segment::heap(self.geometry(), self.side_memory)?;
        self.open_groups(&segment);
        Ok(self.over(segment))
    }

    /// Makes a ring in `memory`, which is lent for ever, for programs without an allocator. It
    /// needs as many pages as [`pages`](Self::pages) says.
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
        memory: &'static mut [crate::segment::lent::Page],
    ) -> Result<UltraFastRing, RingError> {
        self.validate()?;
        let segment = Segment::lent(memory, self.geometry())?;
        self.open_groups(&segment);
        Ok(self.over(segment))
    }

    /// Pages of 4096 bytes that a ring of this kind takes.
    pub fn pages(&self) -> usize {
        self.geometry().offsets().end / crate::layout::areas::PAGE
    }
}

/// Named rings.
#[cfg(feature = "std")]
impl Builder {
    /// The directory of the ring's file, instead of `/dev/shm`. It should be on a file system in
    /// memory (tmpfs). On another one the kernel writes the ring to the disk now and then.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Whom to trust: these users may open a ring that this builder makes, and only their rings are
    /// opened. The default is only this process's user.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Whether to ask the system for huge pages for the side buffers in this process. The system
    /// follows this advice if it is configured to. For rings on the heap `madvise` in
    /// `/sys/kernel/mm/transparent_hugepage/enabled` is enough; for named ones `advise` in
    /// `shmem_enabled` there.
    pub fn huge_pages(mut self, ask: bool) -> Self {
        self.huge_pages = ask;
        self
    }

    /// Vouches for all processes that share a named ring that this builder makes or opens. Then its
    /// handles can be [`Trusted`](crate::Trusted), which read and write messages in place as
    /// slices. A ring on the heap does not need this.
    ///
    /// # Safety
    ///
    /// As long as the ring is open here, every process that has it mapped must access it only
    /// through this library, and must not write into its memory by a bug.
    pub unsafe fn trust_peers(mut self) -> Self {
        self.trust_peers = true;
        self
    }

    /// The differences between the settings `there` and the choices of this builder. Settings that
    /// were not chosen are not compared.
    pub fn differences(&self, there: &Settings) -> Vec<Difference> {
        there.differences(&self.chosen.over(there)).collect()
    }

    fn named_geometry(&self) -> Geometry {
        let clock = crate::clock::Clock::calibrated();
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let mut geometry = self.geometry();
        geometry.ticks_per_second = clock.ticks_per_second;
        geometry.clock_stable = clock.stable;
        geometry.creator_pid = std::process::id();
        geometry.created = since_1970.map_or(0, |time| time.as_nanos() as u64);
        geometry
    }

    /// Makes the ring called `name`, for processes. It appears under its name complete, with its
    /// memory, or not at all. Only those whom [`trust`](Self::trust) allows can open it.
    ///
    /// The first ring that a process makes takes some milliseconds, in which the clock is measured.
    /// If the process has several threads, registering for `membarrier` takes some more, also when
    /// it opens its first ring. Taking a handle takes no such time.
    ///
    /// # Errors
    ///
    /// [`FileError::NameTaken`] if there is one, [`RingError::Invalid`], [`RingError::BadName`],
    /// [`FileError::NoDirectory`], [`FileError::LooseDirectory`], [`FileError::NoSpace`],
    /// [`FileError::FileSizeLimit`], [`RingError::OutOfMemory`], [`FileError::NoDescriptors`],
    /// [`FileError::NoLocks`], [`FileError::PermissionDenied`], [`FileError::Io`].
    pub fn create(&self, name: &str) -> Result<UltraFastRing, RingError> {
        let geometry = self.named_geometry();
        self.validate()?;
        let making = Making { geometry, side_memory: self.side_memory, groups: &self.groups };
        let segment = Segment::create(&self.directory, name, making, self.trust)?;
        Ok(self.over(segment))
    }

    /// Opens the ring called `name`. It keeps the settings with which it was made. Only three
    /// choices of this builder matter: the directory, the participant's name, and whom it trusts.
    ///
    /// # Errors
    ///
    /// [`FileError::NoSuchRing`], [`FileError::NoDirectory`], [`FileError::NotARing`],
    /// [`FileError::LayoutVersion`], [`FileError::UnknownFeatures`], [`FileError::BadLockFile`],
    /// [`FileError::ForeignOwner`],
    /// [`FileError::LooseMode`], [`FileError::LooseDirectory`], [`FileError::PermissionDenied`],
    /// [`FileError::BeingRemoved`], [`FileError::NoLocks`], [`FileError::NoSpace`] (a sparse file
    /// on a full file system), [`RingError::OutOfMemory`], [`FileError::NoDescriptors`],
    /// [`RingError::BadName`], [`FileError::Io`].
    pub fn open(&self, name: &str) -> Result<UltraFastRing, RingError> {
        let segment = Segment::open(&self.directory, name, Rights::Participate, self.trust)?;
        Ok(self.over(segment))
    }

    /// Opens the ring called `name` only to look at it, without the right to write or to lock, and
    /// without disturbing anybody. The file only needs to be readable. To let other users look,
    /// change its mode to 0644 and leave that of its lock file as it is. All slots are mapped at
    /// once.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn observe(&self, name: &str) -> Result<Observer, RingError> {
        Ok(Observer::over(Segment::open(&self.directory, name, Rights::Observe, self.trust)?))
    }

    /// Makes a ring without a name, for processes to which it is handed over a Unix socket with
    /// [`hand_to`](UltraFastRing::hand_to). Its memory is a sealed file, which nobody can truncate.
    ///
    /// # Errors
    ///
    /// [`RingError::NoMemoryFile`] where the system forbids such files, [`RingError::Invalid`],
    /// [`FileError::NoSpace`], [`FileError::FileSizeLimit`], [`RingError::OutOfMemory`],
    /// [`FileError::NoDescriptors`], [`FileError::Io`].
    pub fn anonymous(&self) -> Result<UltraFastRing, RingError> {
        self.validate()?;
        let (geometry, side_memory) = (self.named_geometry(), self.side_memory);
        let making = Making { geometry, side_memory, groups: &self.groups };
        let segment = Segment::anonymous(making, self.trust)?;
        Ok(self.over(segment))
    }

    /// Takes an anonymous ring that the process at the other end of a Unix socket hands over with
    /// [`hand_to`](UltraFastRing::hand_to); waits for it as long as the socket's time-out allows
    /// (see [`UnixStream::set_read_timeout`]).
    ///
    /// Everything is checked. The sender must be one that [`trust`](Self::trust) allows, by its
    /// credentials when the sockets were connected. The files must be memory files that are sealed
    /// against changes of their size, with a ring of exactly that size, and its locks.
    ///
    /// # Errors
    ///
    /// [`RingError::ForeignPeer`], [`RingError::NotHandedOver`], [`FileError::NotARing`],
    /// [`FileError::LayoutVersion`], [`FileError::UnknownFeatures`], [`FileError::NoDescriptors`],
    /// [`FileError::NoSpace`],
    /// [`RingError::OutOfMemory`], [`FileError::Io`], also when the socket's time-out has passed.
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
    /// once get the same ring.
    ///
    /// An existing ring must have the settings that were chosen here. Settings that were not chosen
    /// explicitly are not compared. So a builder with defaults opens any ring, and two programs may
    /// choose different settings, as long as they do not contradict each other. The [side
    /// memory](Self::side_memory) is not stored in a ring, and not compared.
    ///
    /// ```
    /// use ultrafastring::{Builder, RingError, UltraFastRing};
    /// # let name = &format!("doctest-differs-{}", std::process::id());
    ///
    /// let ring = Builder::new().capacity(1024).open_or_create(name)?;
    /// assert_eq!(UltraFastRing::open_or_create(name)?.capacity(), 1024);
    /// let other = Builder::new().capacity(256).max_message(100);
    /// let Err(RingError::SettingsDiffer { differences, .. }) = other.open_or_create(name) else {
    ///     panic!("it is another ring");
    /// };
    /// assert_eq!(differences[0].to_string(), "capacity is 1024 and not 256");
    /// assert_eq!(differences[1].to_string(), "max_message is 40 and not 100");
    /// assert_eq!(other.accept_existing(true).open_or_create(name)?.capacity(), 1024);
    /// UltraFastRing::remove(name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::SettingsDiffer`], unless [`accept_existing`](Self::accept_existing) was chosen;
    /// otherwise as [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<UltraFastRing, RingError> {
        /// Bounds retries against a peer that keeps recreating the ring.
        const MAX_ATTEMPTS: u32 = 1_000;
        for _ in 1..MAX_ATTEMPTS {
            match self.open_alike(name) {
                Err(RingError::File { kind: FileError::NoSuchRing, .. }) => {}
                done => return done,
            }
            match self.create(name) {
                // Somebody else made it first. If it is gone again, somebody has removed it.
                Err(RingError::File { kind: FileError::NameTaken, .. }) => {}
                done => return done,
            }
        }
        self.open_alike(name)
    }

    /// Opens a ring that has the chosen settings.
    fn open_alike(&self, name: &str) -> Result<UltraFastRing, RingError> {
        let segment = Segment::open(&self.directory, name, Rights::Participate, self.trust)?;
        let mut differences = self.differences(segment.settings());
        differences.extend(self.missing_groups(&segment));
        if self.accept_existing || differences.is_empty() {
            Ok(self.over(segment))
        } else {
            Err(RingError::SettingsDiffer { path: self.path(name)?, differences })
        }
    }

    /// Whether [`open_or_create`](Self::open_or_create) accepts an existing ring with any settings.
    pub fn accept_existing(mut self, accept: bool) -> Self {
        self.accept_existing = accept;
        self
    }

    /// Removes a ring's name. Processes that have it open can still use it, and its memory is freed
    /// when the last of them leaves. A ring of another layout version, or a damaged one, is removed
    /// too. A file that is not a ring is not removed.
    ///
    /// # Errors
    ///
    /// [`FileError::NoSuchRing`], [`FileError::NotARing`], [`FileError::NoDirectory`],
    /// [`FileError::PermissionDenied`], [`RingError::BadName`], [`FileError::BeingRemoved`],
    /// [`FileError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), RingError> {
        crate::segment::named::removing::remove(&self.directory, name)
    }

    /// Removes the ring called `name`, and its messages, if no living process has it open. Returns
    /// whether it did.
    ///
    /// It never removes a ring that somebody is opening at that moment. Either the opener has the
    /// ring and it stays, or the ring is removed and the opener finds none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); [`FileError::PermissionDenied`] or [`FileError::Io`] if the files
    /// cannot be removed.
    pub fn remove_stale(&self, name: &str) -> Result<bool, RingError> {
        crate::segment::named::removing::remove_stale(&self.directory, name, self.trust)
    }

    /// Removes files from the directory that no ring needs, left by processes that died while they
    /// made or removed a ring. Returns how many it removed. Such files are in nobody's way. Making
    /// or removing a ring of the same name removes them, too.
    ///
    /// # Errors
    ///
    /// [`FileError::NoDirectory`], [`FileError::Io`] if the directory cannot be read.
    pub fn sweep(&self) -> Result<usize, RingError> {
        crate::segment::named::removing::sweep(&self.directory)
    }

    /// The names of the rings in the directory, sorted. A file may have the name of a ring and not
    /// be one; opening it tells.
    ///
    /// # Errors
    ///
    /// [`FileError::NoDirectory`], [`FileError::Io`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<String>, RingError> {
        crate::segment::named::names_in(&self.directory)
    }

    /// Where the file of the ring called `name` is, or would be.
    ///
    /// # Errors
    ///
    /// [`RingError::BadName`].
    pub fn path(&self, name: &str) -> Result<PathBuf, RingError> {
        crate::segment::named::path_of(Path::new(&self.directory), name)
    }
}
