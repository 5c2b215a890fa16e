//! Registering the memory of large messages with CUDA, whose library is found at run time.
//!
//! With the runtime library (`libcudart`, which PyTorch brings) or, without that, the driver's
//! (`libcuda`). What is registered stays mapped until it is unregistered.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libloading::Library;
use ultrafastring::UltraFastRing;

/// The names of the runtime library, the newest first. One that is loaded already is found by its
/// name, wherever it lies.
const RUNTIMES: [&str; 4] =
    ["libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so"];
const DRIVER: &str = "libcuda.so.1";

/// Of every context of the process (`cudaHostRegisterPortable`, `CU_MEMHOSTREGISTER_PORTABLE`).
const PORTABLE: c_uint = 1;

/// `cudaErrorHostMemoryAlreadyRegistered`, `CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED`.
const ALREADY: c_int = 712;
/// `cudaErrorHostMemoryNotRegistered`, `CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED`.
const NOT: c_int = 713;

/// What is registered, by where it is, with the ring that keeps it mapped.
static PINNED: Mutex<Option<HashMap<usize, Arc<UltraFastRing>>>> = Mutex::new(None);

fn pinned() -> MutexGuard<'static, Option<HashMap<usize, Arc<UltraFastRing>>>> {
    PINNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the two libraries.
enum Cuda {
    Runtime(Library),
    Driver(Library),
}

impl Cuda {
    fn load() -> Result<Self, String> {
        for name in RUNTIMES {
            // SAFETY: NVIDIA's library; what it does when it is loaded is what it does for anybody.
            if let Ok(library) = unsafe { Library::new(name) } {
                return Ok(Self::Runtime(library));
            }
        }
        // SAFETY: as above.
        match unsafe { Library::new(DRIVER) } {
            Ok(library) => Self::Driver(library).begun(),
            Err(error) => Err(format!(
                "there is neither {} nor {DRIVER} ({error}); install NVIDIA's driver, and import \
                 torch first or put CUDA's runtime library where the linker finds it",
                RUNTIMES.join(", ")
            )),
        }
    }

    fn library(&self) -> &Library {
        match self {
            Self::Runtime(library) | Self::Driver(library) => library,
        }
    }

    /// Has the driver's library use the first device, unless the thread has a context already. (The
    /// runtime's does so by itself.)
    fn begun(self) -> Result<Self, String> {
        let mut context: *mut c_void = std::ptr::null_mut();
        let mut device: c_int = 0;
        // SAFETY: the types of cuda.h.
        unsafe {
            let init = self.function::<unsafe extern "C" fn(c_uint) -> c_int>(b"cuInit\0")?;
            let current = self.function::<unsafe extern "C" fn(*mut *mut c_void) -> c_int>(
                b"cuCtxGetCurrent\0",
            )?;
            let get = self
                .function::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(b"cuDeviceGet\0")?;
            let retain = self.function::<unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int>(
                b"cuDevicePrimaryCtxRetain\0",
            )?;
            let set =
                self.function::<unsafe extern "C" fn(*mut c_void) -> c_int>(b"cuCtxSetCurrent\0")?;
            self.check("cuInit", init(0))?;
            self.check("cuCtxGetCurrent", current(&raw mut context))?;
            if context.is_null() {
                self.check("cuDeviceGet", get(&raw mut device, 0))?;
                self.check("cuDevicePrimaryCtxRetain", retain(&raw mut context, device))?;
                self.check("cuCtxSetCurrent", set(context))?;
            }
        }
        Ok(self)
    }

    /// A function of the library.
    ///
    /// # Safety
    ///
    /// It has that type.
    unsafe fn function<T: Copy>(&self, name: &[u8]) -> Result<T, String> {
        // SAFETY: as the caller says; the copy is used while the library is loaded.
        unsafe { self.library().get::<T>(name) }.map(|it| *it).map_err(|error| {
            format!("CUDA's library lacks a function ({error}); install one of version 11 or later")
        })
    }

    fn check(&self, call: &str, code: c_int) -> Result<(), String> {
        if code == 0 { Ok(()) } else { Err(self.explained(call, code)) }
    }

    /// What the library says of an error.
    fn explained(&self, call: &str, code: c_int) -> String {
        let text = match self {
            // SAFETY: the type of cuda_runtime_api.h; the text is constant, or null.
            Self::Runtime(_) => unsafe {
                self.function::<unsafe extern "C" fn(c_int) -> *const c_char>(
                    b"cudaGetErrorString\0",
                )
                .map(|it| it(code))
            },
            Self::Driver(_) => {
                let mut text = std::ptr::null();
                // SAFETY: the type of cuda.h; the text is constant, or null.
                unsafe {
                    self.function::<unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int>(
                        b"cuGetErrorString\0",
                    )
                    .map(|it| {
                        it(code, &raw mut text);
                        text
                    })
                }
            }
        };
        let text = match text {
            // SAFETY: a constant text of the library, as above.
            Ok(text) if !text.is_null() => unsafe { CStr::from_ptr(text) }.to_string_lossy().into(),
            _ => String::from("an unknown error"),
        };
        format!(
            "{call} failed: {text} ({code}); see that the device works (nvidia-smi), and that the \
             process may lock so much memory (ulimit -l)"
        )
    }

    fn register(&self, start: *mut c_void, bytes: usize) -> Result<(), String> {
        type Register = unsafe extern "C" fn(*mut c_void, usize, c_uint) -> c_int;
        let (call, name): (_, &[u8]) = match self {
            Self::Runtime(_) => ("cudaHostRegister", b"cudaHostRegister\0"),
            Self::Driver(_) => ("cuMemHostRegister", b"cuMemHostRegister_v2\0"),
        };
        // SAFETY: the type of both; the memory is mapped, and `PINNED` keeps it so.
        let code = unsafe { self.function::<Register>(name)?(start, bytes, PORTABLE) };
        if code == ALREADY { Ok(()) } else { self.check(call, code) }
    }

    fn unregister(&self, start: *mut c_void) -> Result<(), String> {
        type Unregister = unsafe extern "C" fn(*mut c_void) -> c_int;
        let (call, name): (_, &[u8]) = match self {
            Self::Runtime(_) => ("cudaHostUnregister", b"cudaHostUnregister\0"),
            Self::Driver(_) => ("cuMemHostUnregister", b"cuMemHostUnregister\0"),
        };
        // SAFETY: the type of both; the memory is mapped still.
        let code = unsafe { self.function::<Unregister>(name)?(start) };
        if code == NOT { Ok(()) } else { self.check(call, code) }
    }
}

/// Registers the side buffers, and says how many bytes they have.
pub(crate) fn pin(ring: &Arc<UltraFastRing>) -> Result<usize, String> {
    let Some((start, bytes)) = ring.side_buffers() else {
        return Err(String::from(
            "the ring has no memory for large messages; make it with max_message= above 40",
        ));
    };
    let mut pinned = pinned();
    let pinned = pinned.get_or_insert_default();
    if let Entry::Vacant(place) = pinned.entry(start.as_ptr().addr()) {
        Cuda::load()?.register(start.as_ptr().cast(), bytes)?;
        place.insert(Arc::clone(ring));
    }
    Ok(bytes)
}

/// Undoes `pin`; nothing if there is nothing to undo.
pub(crate) fn unpin(ring: &Arc<UltraFastRing>) -> Result<(), String> {
    let Some((start, _)) = ring.side_buffers() else { return Ok(()) };
    let mut pinned = pinned();
    let pinned = pinned.get_or_insert_default();
    if pinned.contains_key(&start.as_ptr().addr()) {
        Cuda::load()?.unregister(start.as_ptr().cast())?;
        pinned.remove(&start.as_ptr().addr());
    }
    Ok(())
}
