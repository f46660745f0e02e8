"""
Every limit, with its unit in the name and its reason beside it.

One module, though a long one: a catalogue, one entry after the other, that the page of limits is
made from.

Source: wire specification, "Limits"; runtime design, "Slot protocol", "Output capture".
"""

from typing import Final

MIB: Final = 1024 * 1024

# Requests
REQUEST_HEAD_BYTES_MAX: Final = 64 * 1024
"""Request line and headers: many times what any client sends, and cheap to read."""
REQUEST_HEAD_S_MAX: Final = 30.0
"""From a connection's start, or a head's first byte, to its end; slow senders hold a socket."""
PROXY_HOPS_MAX: Final = 32
"""Proxies in a row before a server of ours; whoever lists more has made them up."""
REQUEST_BODY_STALL_S_MAX: Final = 60.0
"""Without a byte of a request's body; slow lines move, dead ones do not."""
ERROR_HEADER_CHARS_MAX: Final = 1024
"""Of a message in `X-Error-Message`: algorithms write them, and clients and proxies refuse long
heads. The body has all of it."""

# Calls
CALL_INPUT_BYTES_MAX: Final = 10 * MIB
"""Larger inputs belong into the Data API."""
CALL_OUTPUT_BYTES_MAX: Final = 15_000_000
"""15 MB on the wire: base64 output counts as encoded."""
CALL_BODY_IN_MEMORY_BYTES_MAX: Final = MIB
"""Of one input or result; what is larger is spooled, and read and written a piece at a time."""
SPOOLED_BYTES_MAX: Final = 1024 * MIB
"""Of all large inputs and results of one gateway together; beyond it new ones hear "busy"."""
ANSWER_STALL_S_MAX: Final = 60.0
"""Without a byte of a large answer being taken: who does not read must not hold it for ever."""
CALL_TIMEOUT_S_DEFAULT: Final = 300.0
"""What the old service gave, and what its clients send."""
CALL_TIMEOUT_S_MAX: Final = 3000.0
"""Longer timeouts are clamped, not refused: callers of the old service relied on that."""
CALLS_IN_FLIGHT_PER_ACCOUNT_MAX: Final = 80
"""What the old service promised; beyond it callers hear "too many" at once."""
CHILD_CALLS_PER_TREE_MAX: Final = 24
"""Calls that one root call may have open below itself, in parallel or nested."""
VOID_CALLS_WAITING_PER_ACCOUNT_MAX: Final = 1000
"""Accepted void calls are kept with their inputs: one account must not fill the database."""
QUOTA_CONCURRENT_CALLS_MAX: Final = 10_000
"""Most calls of one account that an administrator may allow at a time: each holds its input."""
QUOTA_VOID_CALLS_WAITING_MAX: Final = 1_000_000
"""The same of waiting void calls: a row each, with its input."""
QUOTA_VALUE_MAX: Final = 2**53 - 1
"""Of any other quota: the largest number that every client reads exactly."""
IDEMPOTENCY_KEY_CHARS_MAX: Final = 255
"""Of `Idempotency-Key`: what others allow, and many times a UUID."""
KEPT_CALLS_S: Final = 24 * 3600.0
"""So long the answer to a call with a key is kept: retries come in seconds, people in a day."""
KEPT_CALLS_PER_ACCOUNT_MAX: Final = 50_000
"""Calls with a key in the time that answers are kept: each is a row, counted now and then."""
KEPT_CALLS_PER_ACCOUNT_BYTES_MAX: Final = 256 * MIB
"""Their answers, in the database: a dozen of the largest, or very many usual ones."""
KEPT_CALLS_PRUNE_S: Final = 900.0
"""Between two clean-ups of old answers."""
KEPT_CALLS_PRUNED_MAX: Final = 200
"""Old answers that are deleted in one transaction: others want to write, too."""
CALL_REPEAT_S: Final = 1
"""What a caller who repeats a call that is under way is told to wait."""
CALL_LEASE_SPARE_S: Final = 15.0
"""Beyond a call's deadline, until a call that has not told its end is given up."""
CALL_KILL_GRACE_S: Final = 2.0
"""Between SIGTERM and SIGKILL for a call past its deadline."""

# Slots
SLOTS_MAX: Final = 64
"""Warm slots of all algorithms together, unless `--slots-max` says otherwise: a process each."""
SLOTS_PER_POOL_MAX: Final = 8
"""Of one account and version: a busy algorithm must leave slots for the others."""
RESERVATIONS_MAX: Final = 1000
"""Each is looked at with every new version, and the machine has far fewer slots."""
SLOTS_PER_VERSION_MAX: Final = 1000
"""What an author may ask for; how many there are is decided by the machine."""
LOAD_TIMEOUT_S: Final = 300.0
"""A hang while importing or in `load()` must not hang for ever."""
SLOT_HEADER_BYTES_MAX: Final = 64 * 1024
"""A header is a handful of numbers and words; more is an attack or a bug."""
SLOT_BODY_BYTES_MAX: Final = 64 * MIB
"""What a slot may send in one frame: room to say "16 MB is too large" instead of breaking off."""
STDOUT_BYTES_MAX: Final = MIB
"""Kept per call: head and tail, the gap is noted."""
SLOT_MEMORY_BYTES: Final = 2048 * MIB
"""Room for a usual model; what runs over hits only its own call."""
SLOT_MEMORY_BYTES_MAX: Final = 1024 * 1024 * MIB
"""What an author may ask for: a terabyte; there is no machine yet that has more for one slot."""
SLOT_MEMORY_GUESS_BYTES: Final = 256 * MIB
"""What a slot is expected to need before one of its version was seen: a few usual libraries."""
SLOT_MEMORY_BYTES_MIN: Final = 32 * MIB
"""Expected of every slot: an interpreter that has imported nothing yet."""
SLOT_TMP_BYTES: Final = 512 * MIB
"""The private `/tmp` lives in memory, so it must not grow at will."""
SLOT_PROCESSES_MAX: Final = 256
"""Enough for libraries with thread pools, too few for a fork bomb to be felt."""
SLOT_OPEN_FILES_MAX: Final = 4096
"""Enough for data sets of many files, too few to exhaust the host."""
SLOT_CONNECTIONS_MAX: Final = 256
"""To the platform's API: a parent may run 24 children, and each client keeps a few connections."""
SLOT_SOURCE_COPY_BYTES_MAX: Final = 64 * MIB
"""Source trees up to this size are writable copies inside the slot, larger ones read-only."""
SLOT_IDLE_S: Final = 600.0
"""Warm slots cost memory: ten minutes without a call and the slot goes."""
ZYGOTES_MAX: Final = 4
"""Of one machine: each holds the libraries of an environment in memory, used or not."""
ZYGOTE_MEMORY_BYTES: Final = 1024 * MIB
"""For the imports of one: several times what the usual numeric libraries need."""
ZYGOTE_PROCESSES_MAX: Final = 128
"""Beside the slots: it needs one, and one for each slot that is on its way out."""
ZYGOTE_IDLE_S: Final = 3600.0
"""Longer than its slots, so that a version that is called once in a while starts quickly."""
ZYGOTE_STAY_S: Final = 60.0
"""Used more recently, it does not make room: starting zygotes in turns would be all work."""
ZYGOTE_AGE_S: Final = 24 * 3600.0
"""Slots of one zygote share the layout of their memory, so it does not stay for ever."""
ZYGOTE_PRELOAD_S: Final = 120.0
"""For its imports, minutes on a slow disk; slots are started cold meanwhile."""
ZYGOTE_FORK_S: Final = 10.0
"""Until a forked slot waits for its order, usually hundredths; nobody waits for it yet."""
ZYGOTE_BIRTH_S: Final = 2.0
"""From then until it is confined: meanwhile a caller waits, and it is started cold instead."""
ZYGOTE_PAUSE_S: Final = 60.0
"""After a zygote failed, before the next one of its environment is tried."""
ZYGOTE_SOURCE_BYTES_MAX: Final = 16 * MIB
"""Of a version's source, which is held in memory for its slots; larger ones are started cold."""
ZYGOTE_SOURCE_ENTRIES_MAX: Final = 4096
"""The same in files and directories: they are packed while others wait."""
PRELOAD_MODULES_MAX: Final = 4096
"""Modules imported ahead, many times what large libraries have; the list is part of a build."""
PRELOAD_EXAMINE_S: Final = 120.0
"""For one examination of what may be imported ahead; a build must not hang for an optimization."""
PRELOAD_EXAMINATIONS_MAX: Final = 12
"""Each finds one module to leave out; with more of them little is left to gain."""
QUEUE_CALLS_MAX: Final = 1000
"""Per slot key; beyond it callers hear "no" at once instead of waiting in vain."""
QUEUE_BYTES_MAX: Final = 128 * MIB
"""Of inputs that wait for the same slots: a dozen of the largest, or very many usual ones."""
QUEUES_BYTES_MAX: Final = 512 * MIB
"""Of all inputs that wait: they are held in memory, and a small server has little of it."""
STARTS_PER_ACCOUNT_MAX: Final = 4
"""At the same time: imports keep processors busy, and others want to start slots, too."""
START_ABANDONED_S: Final = 30.0
"""A start that nobody has waited for so long is given up: what hangs must not keep its room."""
NESTED_SLOTS_MAX: Final = CHILD_CALLS_PER_TREE_MAX
"""Beyond all others, for calls that algorithms make: what one call tree may need at once."""

# Gateways
GATEWAYS_MAX: Final = 64
"""Processes of one server: as many processors as one machine for this has."""
GATEWAY_RESTART_S_FIRST: Final = 0.5
"""Before a gateway that has died twice in a row is started again; the first time it is at once."""
GATEWAY_RESTART_S_MAX: Final = 30.0
"""Delays double up to here: what is wrong may be right again any time."""
GATEWAY_STEADY_S: Final = 60.0
"""A gateway that has lived so long had no trouble starting: its next death is a first one."""
GATEWAY_ATTEMPTS_MAX: Final = 3
"""Of a gateway that dies before the server was ever ready: then the start has failed."""
GATEWAY_STOP_S: Final = 30.0
"""Beyond twice the grace of calls: what does not end by itself in that time is killed."""

# Data
FILE_NAME_BYTES_MAX: Final = 255
"""As in most file systems, so that every file can be saved under its name."""
COLLECTION_NAME_CHARS_MAX: Final = 100
"""Longer than any name the suites of the old clients use."""
LISTING_ENTRIES_MAX: Final = 1000
"""Per page; a marker leads to the next one."""
DATA_JSON_BYTES_MAX: Final = 64 * 1024
"""Bodies of POST and PATCH on the Data API: a name and an ACL."""
BLOB_CHUNK_BYTES: Final = 256 * 1024
"""Files stream in pieces of this size: memory does not depend on the size of a file."""
BLOB_WRITE_BYTES: Final = MIB
"""Collected before a write: handing it to a thread then costs little beside hashing it."""
BLOB_PIECE_BYTES_MIN: Final = 16 * 1024
"""Of what is written as it came; shorter pieces are put together first. A write has a hundred at
most, and the system takes a thousand at a time."""
FILE_IN_ROW_BYTES_MAX: Final = 16 * 1024
"""Files up to this length are kept in their row: many of them share one flush of the disk. Longer
ones would make the database grow faster than it is worth."""
COMMITTED_AT_ONCE_FILES_MAX: Final = 256
"""Uploads that share one transaction: with the longest files in rows, it writes 4 MiB."""
DISK_RESERVE_BYTES: Final = 64 * MIB
"""Uploads leave so much of the disk free: on a full one the database could not even delete."""
SCRUB_STEP_S: Final = 60.0
"""Between two steps of the look at all files: each is short, and the disk rests in between."""
SCRUBBED_AT_ONCE_FILES_MAX: Final = 100
"""Rows read at once, some with their files' bytes: some megabytes at most."""
CHECK_SHOWN_MAX: Final = 1000
"""Damaged files that a check names; more are counted."""
BUCKET_PART_BYTES: Final = 16 * MIB
"""Of a blob in an object store: stores take 10,000 parts, so this is enough for 160 GB."""
BUCKET_PARTS_AT_ONCE_MAX: Final = 2
"""Of one blob on their way; with the one that gathers, this many parts are in memory."""
BUCKET_COPY_BYTES_MAX: Final = 5_000_000_000
"""What stores copy by themselves in one request; longer blobs pass through the server."""
BUCKET_SUSPECTS_MAX: Final = 100_000
"""Blobs without a row that are remembered from one sweep to the next; more wait their turn."""
SENT_BY_THREAD_BYTES_MIN: Final = MIB
"""Of a download that goes from the disk to the socket past the event loop; shorter ones are out
sooner than that is arranged."""
SENDING_THREADS_MAX: Final = 4
"""For all those downloads: each works for one client at a time, for a twentieth of a second."""
DOWNLOAD_STALL_S_MAX: Final = 600.0
"""Without a byte of a download being taken: enough for a laptop that was closed for a while."""
BLOB_GRACE_S: Final = 3600.0
"""Blobs without a row are swept when they are older; a commit follows its blob within seconds."""
BLOB_THREADS_MAX: Final = 8
"""Disks serve several requests at once; a slow flush must not hold up all other files."""
DELETED_WHOLE_FILES_MAX: Final = 10_000
"""Collections up to this many files are deleted in one transaction, all or nothing."""
DELETED_PER_STEP_FILES_MAX: Final = 250
"""Larger ones shrink by so many files at a time: other writers wait for a moment only."""
UPLOAD_PART_BYTES: Final = 16 * MIB
"""Of a resumable upload, unless its client wants others: a cut costs a second of a slow line."""
UPLOAD_PART_BYTES_MIN: Final = 64 * 1024
"""Smaller parts would be mostly rows and flushes of the disk."""
UPLOAD_PART_BYTES_MAX: Final = 1024 * MIB
"""With the most parts that is ten terabytes."""
UPLOAD_PARTS_MAX: Final = 10_000
"""Of one upload: its list of parts is one answer; longer files have longer parts."""
UPLOADS_PER_ACCOUNT_MAX: Final = 1000
"""Begun and not finished; more is a client that forgets what it has begun."""
UPLOAD_AGE_S: Final = 7 * 24 * 3600.0
"""What is not finished a week after it began is given up, and its parts go."""
UPLOAD_FINISHED_AGE_S: Final = 24 * 3600.0
"""How long it is remembered what became of an upload: for a client that lost the answer."""
UPLOAD_PART_WAIT_S: Final = 10.0
"""For whoever writes a part just now; after that a second upload of it hears that it is taken."""
REFUSED_UPLOAD_BYTES_MAX: Final = 16 * MIB
"""Read and thrown away after a refusal, so that a client still sending can read the answer."""
REFUSED_UPLOAD_S_MAX: Final = 10.0
"""The same in time: a client that sends slowly is cut off."""
SWEEP_EVERY_S: Final = 3600.0
"""Between two clean-ups of files: a sweep looks at every blob, and nothing it removes is urgent."""
TEMP_COLLECTION_AGE_S: Final = 24 * 3600.0
"""Files in `.algo/.../temp` are promised for about a day."""

# Connectors
CONNECTOR_LABEL_CHARS_MAX: Final = 64
"""Part of every address of the source; longer ones are typed wrongly."""
CONNECTOR_PATH_CHARS_MAX: Final = 1024
"""As long as the longest key in a bucket."""
CONNECTOR_VALUE_CHARS_MAX: Final = 16 * 1024
"""Of one credential, or of a certificate: the longest are private keys and chains of a few KB."""
CONNECTORS_PER_ACCOUNT_MAX: Final = 100
"""More sources than anybody names; a loop that creates them ends here."""
CONNECTOR_JSON_BYTES_MAX: Final = 128 * 1024
"""Of a connector's description: a few credentials and a certificate, as JSON."""
SOURCES_OPEN_MAX: Final = 64
"""Sources that a gateway keeps connected, with their buckets: each has a pool of connections."""
SOURCE_OPEN_S: Final = 300.0
"""Then a source is opened anew: its endpoint may have moved to where it must not be."""
SOURCE_BUCKETS_OPEN_MAX: Final = 32
"""Buckets of one source that are kept connected."""
SOURCE_CONNECT_S: Final = 10.0
"""To reach a source at all: who is that far away will not be reached."""
SOURCE_STALL_S: Final = 120.0
"""Without a byte from a source, also while it takes a part of a file on a slow line."""
SOURCE_ANSWER_S_MAX: Final = 300.0
"""For one small answer as a whole: whoever sends a byte a minute is not waited for."""
SOURCE_RETRY_S: Final = 15.0
"""In which a source that refuses for now is asked again; then the caller hears of it."""
SOURCE_TRIES_MAX: Final = 3
"""The same in requests, after the first one."""
SOURCE_TRANSFER_S_MAX: Final = 24 * 3600.0
"""For one file: the longest that a large one takes on a slow line."""
SOURCE_KEY_BYTES_MAX: Final = 1024
"""Of a path below its bucket: what all stores take."""
SOURCE_LISTING_BYTES_MAX: Final = 8 * MIB
"""Of one answer about a directory: a thousand of the longest names, several times over."""
SOURCE_LISTING_TAGS_MAX: Final = 200_000
"""In the same: ten times what a thousand entries have. Reading a million takes seconds, in which
nothing else runs."""
SOURCE_LISTING_PAGES_MAX: Final = 10_000
"""Answers read for one page: ten million entries, and nobody waits longer for it."""
SOURCE_BUCKETS_MAX: Final = 100_000
"""In a list of buckets: no account has more, and the list is in memory."""
SOURCE_WHOLE_BYTES_MAX: Final = 8 * MIB
"""Written in one request, from memory; what is longer goes in parts."""
SOURCE_PART_BYTES: Final = 8 * MIB
"""Of a part, where the file's length allows no larger one: less is slow on a long line."""
SOURCE_PARTS_MAX: Final = 9000
"""Stores accept 10,000; parts of files whose length is known are made large enough for this."""
SOURCE_SMALL_BYTES_MAX: Final = MIB
"""Uploads up to this length do not wait for others: they take little memory."""
SOURCE_UPLOADS_MAX: Final = 8
"""Longer ones of one account at the same time: each holds a few parts in memory."""
SOURCES_UPLOADS_MAX: Final = 32
"""The same to all sources of a gateway: about a gigabyte; the others wait before they are read."""
SOURCE_PARTS_AT_ONCE_MAX: Final = 3
"""Parts of one file on their way: this many are in memory."""
SOURCE_UNKNOWN_PART_BYTES: Final = 16 * MIB
"""Of a part, if nobody knows how long the file is: enough for 140 GB."""
SOURCE_CONDITION_BYTES_MAX: Final = 32 * MIB
"""Of a file that is stored under a condition: stores check it for single requests only, and what
goes in one request is in memory."""
SOURCE_WORDS_CHARS_MAX: Final = 300
"""Kept of what a source says when it refuses."""
DROPBOX_THREADS_MAX: Final = 8
"""Requests to Dropbox at the same time: its library waits in threads."""

# Names
ACCOUNT_NAME_CHARS_MAX: Final = 30
"""What the old service allowed."""
ALGORITHM_NAME_CHARS_MAX: Final = 100
"""Names become file and module names; file systems allow a little more than this."""

# Management
MANAGEMENT_BODY_BYTES_MAX: Final = 16 * MIB
"""Of a description in JSON, or of one file of source that is saved through the API."""

MANAGEMENT_PAGE_ENTRIES_MAX: Final = 1000
"""Of a list of algorithms, builds or versions; a marker leads to the next page."""
MANAGEMENT_PAGE_ENTRIES_MAX_DEFAULT: Final = 50
"""The same when nobody said how many: what the old service gave."""
ALGORITHM_TEXT_CHARS_MAX: Final = 100_000
"""Of a description, release notes, a sample input or output: a long document each."""
README_BYTES_MAX: Final = 32 * 1024
"""Of a README that becomes a summary: the worst of this length takes seconds to render."""
COMMITS_LISTED_MAX: Final = 1000
"""In one answer, which has no pages; older ones are asked for with `until`."""

# Publishing
SIGNATURE_CHARS_MAX: Final = 200_000
"""Of one JSON Schema of an input or a result: several hundred classes."""
SIGNATURE_DEPTH_MAX: Final = 150
"""Levels of such a schema: classes are defined side by side, and Python's stack ends."""
SCHEMA_DEPTH_MAX: Final = 60
"""Levels of a JSON Schema that are compared; people do not nest deeper, and Python's stack ends."""
SCHEMA_STEPS_MAX: Final = 20_000
"""Of one comparison of schemas, some tenths of a second: alternatives multiply."""
SCHEMA_WARNINGS_MAX: Final = 50
"""Told of one comparison; who reads that many knows that everything is different."""
SAMPLE_RUN_S_MAX: Final = 120.0
"""For the run of a sample input when a build is published, its slot's start included: the
publisher waits, and clients of the old service give up after some minutes."""
PUBLISH_TRIES_MAX: Final = 20
"""Of one publication, each after somebody else's: more publishers of one algorithm at once are
told to try again."""
BILL_COMPONENTS_MAX: Final = 5000
"""In a bill of materials: the largest environments have some hundred distributions."""
BILL_METADATA_BYTES_MAX: Final = 256 * 1024
"""Read of what one distribution says of itself: a head, and often a long description behind it."""
MANIFEST_BYTES_MAX: Final = MIB
"""Of a model manifest: thousands of files."""
MANIFESTS_KEPT_MAX: Final = 1000
"""In memory, so that a slot's request for a file reads none."""
MODEL_CACHED_BYTES_MIN: Final = MIB
"""Of a model file that is kept on disk here; smaller ones are fetched faster than looked for."""
MODEL_CACHE_BYTES_MAX_DEFAULT: Final = 20 * 1024 * MIB
"""Of all cached model files, unless `--model-cache-mib` says otherwise: some of the largest."""
VERIFY_DIFFERENCES_SHOWN_MAX: Final = 50
"""Of one comparison: who reads that many knows that everything is different."""
VERSION_DOCUMENT_BYTES_MAX: Final = 8 * MIB
"""Of a lock, a bill of materials or the like: several thousand distributions with hashes."""

# Source
PUSH_BYTES_MAX_DEFAULT: Final = 1024 * MIB
"""Of what one push sends, unless `--push-mib-max` says otherwise: twice the largest commit."""
PUSH_REFS_MAX: Final = 1000
"""Branches and tags that one push changes; more at once is a mistake, or an attack."""
PUSH_OUTPUT_LINE_CHARS_MAX: Final = 1000
"""Of one line of a build's log in the pusher's terminal; the log itself has all of it."""
REPOSITORY_BYTES_MAX: Final = 4096 * MIB
"""Of one repository with its history: several times the largest push."""
REPOSITORY_REFS_MAX: Final = 10_000
"""Branches and tags: each fetch begins with a list of them."""
REPOSITORY_LOCK_S: Final = 60.0
"""Locks are held for hundredths of a second; older ones are of processes that were killed."""
GIT_PROCESS_S_MAX: Final = 4 * 3600.0
"""For one clone or push: the largest on a slow line, and the build that a push waits for."""
GIT_PROCESS_MEMORY_BYTES: Final = 4096 * MIB
"""Of the address space of each git process: a pack of a megabyte can unpack to any size."""
GIT_PROCESSES_MAX: Final = 32
"""Clones, pushes and archives at the same time on one gateway; the next ones hear "busy"."""
GIT_PROCESSES_PER_ACCOUNT_MAX: Final = 8
"""Of one account: nobody takes all of them."""
GIT_STALL_S_MAX: Final = 600.0
"""Without a byte of an answer being taken, as with downloads."""
GIT_QUESTION_S_MAX: Final = 30.0
"""For what the server itself asks of a repository: milliseconds, unless somebody forged it."""
GIT_QUESTIONS_AT_ONCE_MAX: Final = 8
"""That editors ask: each is a process of milliseconds, and the next ones wait."""
GIT_END_S: Final = 5.0
"""What a git process gets to clean up, when its client has gone, before it is killed."""
PUSH_SETTLE_S: Final = 60.0
"""Between two looks for pushes that were cut off before their build was asked for."""
SOURCE_LISTING_FILES_MAX: Final = 10_000
"""In one page of the list of a commit's files, about a megabyte; a marker leads to the next one."""
SOURCE_FILE_BYTES_MAX: Final = MANAGEMENT_BODY_BYTES_MAX
"""Of one file that is read through the API: it is in memory, as it is when it is saved."""
COMMIT_CHANGES_MAX: Final = 1000
"""Files that one commit through the API changes; more are pushed with git."""
COMMIT_MESSAGE_CHARS_MAX: Final = 16 * 1024
"""Longer than any message that people write."""

# Passwords
PASSWORD_CHARS_MIN: Final = 12
"""What takes too long to guess, even for somebody who has stolen the hashes."""
PASSWORD_BYTES_MAX: Final = 1024
"""Longer ones add nothing, and cost time to hash."""
PASSWORD_CHECKS_AT_ONCE_MAX: Final = 2
"""Each takes a processor for some hundredths of a second, and 64 MiB of memory."""
PASSWORD_CHECKS_WAITING_MAX: Final = 64
"""Behind those; more are turned away, since strangers can cause them."""
PASSWORD_PROOF_S: Final = 60.0
"""A right password is not computed again: git shows it with each of its requests."""
PASSWORD_PROOFS_MAX: Final = 1000
"""Of such passwords, remembered; the oldest are forgotten."""
PASSWORD_FAILURES_MAX: Final = 10
"""Of one account from one address in a while; people mistype less often."""
PASSWORD_FAILURES_PER_ACCOUNT_MAX: Final = 100
"""Of one account from everywhere; more than the above, so that one stranger locks nobody out."""
PASSWORD_FAILURES_PER_ADDRESS_MAX: Final = 50
"""From one address, whoever's passwords: a whole office mistypes less often."""
PASSWORD_FAILURES_S: Final = 300.0
"""In which as many more are taken, one after the other: nobody waits for all of it."""
PASSWORD_FAILURES_KEPT_MAX: Final = 32_768
"""Accounts and addresses that are remembered; beyond that, those with the fewest are forgotten."""
PASSWORD_PLACES_KEPT_MAX: Final = 32_768
"""Where accounts have signed in of late: whoever guesses elsewhere keeps nobody out there."""
PASSWORD_PLACES_PER_ACCOUNT_MAX: Final = 8
"""Of those; somebody who signs in from very many places pushes out nobody else's."""
PASSWORD_CHECKS_WAITING_PER_ADDRESS_MAX: Final = 16
"""Of those that wait; they are looked at one by one, and one address must not take all places."""

# Builds
BUILD_TIMEOUT_S: Final = 1800.0
"""A resolver that hangs must not hold a build for ever."""
BUILDS_CONCURRENT_MAX: Final = 2
"""Each may use all processors and gigabytes of memory; callers come first."""
BUILDS_WAITING_PER_OWNER_MAX: Final = 100
"""Of all algorithms of one owner: a script that pushes in a loop must not fill the queue."""
QUOTA_BUILDS_WAITING_MAX: Final = 10_000
"""What an administrator may make of that for an account: each is a row, and holds up others."""
BUILD_FOLLOWERS_MAX: Final = 200
"""Who reads the logs of builds live on one gateway; each looks into a file ten times a second."""
BUILD_FOLLOW_BYTES_MAX: Final = 64 * 1024
"""Of a log at a time, however slowly its reader takes it."""
BUILD_FOLLOW_IDLE_S: Final = 15.0
"""A live log that says nothing for so long says that it is there: proxies cut idle answers."""
BUILD_LINE_BYTES_MAX: Final = 64 * 1024
"""Of a line without an end; what is longer is logged in parts."""
BUILD_FAILURE_CHARS_MAX: Final = 2000
"""Of the sentence that says why a build failed: it is in every list of builds."""
DEPENDENCY_FILE_BYTES_MAX: Final = 16 * MIB
"""For a list of packages, or their lock: the longest locks take one."""
CONDA_FILE_BYTES_MAX: Final = MIB // 4
"""For a list of packages in YAML, which takes seconds for each megabyte to read."""
PACKAGE_INDEXES_MAX: Final = 8
"""Of one account: each is asked for every package."""
PACKAGE_SECRET_CHARS_MAX: Final = 4096
"""Of a username or password; some are signed tokens."""
PACKAGE_CERTIFICATE_CHARS_MAX: Final = 128 * 1024
"""A chain of certificates takes a tenth of it."""
PACKAGE_PAGE_BYTES_MAX: Final = 64 * MIB
"""Of the list of one package's files: the longest of the public index take some."""
PACKAGE_REDIRECTS_MAX: Final = 5
"""An index that sends further than that goes in circles."""
PACKAGE_SOURCE_S: Final = 30.0
"""Until an index begins to answer, or goes on; resolvers give up about then."""
INTERPRETERS_MAX: Final = 64
"""Executables that are tried at the start; no host has as many versions of Python."""
INTERPRETER_TRIAL_S: Final = 20.0
"""For one of them; a disk that was asleep takes seconds."""
BUILD_POLL_S: Final = 0.1
"""How soon those who wait for a build learn of its end, and a build that it was cancelled."""
BUILD_QUEUE_POLL_S: Final = 1.0
"""How soon a build is noticed that another gateway was asked for."""
BUILD_LOG_BYTES_MAX: Final = 16 * MIB
"""A log is one row and one answer; no real build needs more."""
BUILD_MEMORY_BYTES: Final = 4096 * MIB
"""For one tool of a build: resolvers and the imports of large libraries need more than a slot."""
BUILD_DISK_BYTES_MAX: Final = 20 * 1024 * MIB
"""For one tool of a build: the largest environments take a few gigabytes, twice where they must be
copied. An archive of kilobytes can unpack to all that a disk holds."""
BUILD_DISK_FILES_MAX: Final = 1_000_000
"""The same in files, which a disk runs out of as well."""
SOURCE_BYTES_MAX: Final = 512 * MIB
"""Of one commit. Models belong into the Data API; the source is copied for every build."""
SOURCE_FILES_MAX: Final = 50_000
"""Of one commit; a forged tree can name millions in a few hundred bytes."""
SOURCE_OBJECT_BYTES_MAX: Final = 8 * MIB
"""Of one commit or directory: with all the files of a source in it, a directory takes less."""
SOURCE_DIRECTORIES_DEEP_MAX: Final = 64
"""Levels of directories in a commit: paths stay far below what systems accept."""
BUILT_BYTES_MAX: Final = 2048 * MIB
"""Of a tree with everything that its build has installed; Python's environments are not in it."""
BUILT_FILES_MAX: Final = 200_000
"""Of the same: packages of Node.js come in many small files."""
BUILT_DIRECTORIES_DEEP_MAX: Final = 256
"""Levels of directories in the same: deeper than any package manager nests."""

# Store
DATABASE_BUSY_TIMEOUT_S: Final = 30.0
"""How long SQLite waits for another process (a backup, an operator's shell) that holds the lock."""
DATABASE_CONNECT_TIMEOUT_S: Final = 10.0
"""An unreachable PostgreSQL is reported well before a caller's own patience ends."""
DATABASE_CONNECTIONS_MAX: Final = 10
"""Per gateway: a few gateways stay below PostgreSQL's default of 100 connections."""
DATABASE_READERS_MAX: Final = 4
"""Connections that read SQLite, each with a thread of its own; one more writes."""
CHANGES_POLL_S: Final = 0.25
"""How often a gateway looks what others wrote: a revoked key is refused everywhere within 1 s."""
CHANGES_AT_ONCE_MAX: Final = 200
"""Rows that are read one by one; after more changes than that, everything is read anew."""
CHANGES_KEPT_MAX: Final = 10_000
"""Far more than a gateway misses between two looks; who has missed more reads everything anew."""
CHANGES_PRUNE_S: Final = 3600.0
"""Between two clean-ups of old changes: they are short, and few."""

# Jobs
JOBS_CONCURRENT_MAX: Final = 16
"""Durable jobs one gateway runs at the same time: a backlog must not crowd out waiting callers."""
JOB_LEASE_S: Final = 30.0
"""After a crash the others wait this long before they declare a job's runner dead."""
JOB_POLL_S: Final = 5.0
"""How soon work that another process queued, or whose delay ended, is noticed."""
JOB_ATTEMPTS_MAX: Final = 20
"""With the delays below, a job that cannot be delivered is given up after about an hour."""
JOB_RETRY_S_FIRST: Final = 1.0
"""A hiccup is over in a second; every further delay doubles."""
JOB_RETRY_S_MAX: Final = 300.0
"""Delays stop growing here, so that a cured receiver is noticed soon."""
JOB_CANCEL_S: Final = 5.0
"""What a cancelled handler gets to clean up before the shutdown goes on without it."""
JOB_KEEP_S: Final = 7 * 24 * 3600.0
"""Finished jobs are kept for a week: long enough to look into Monday what failed on Friday."""
JOB_PRUNE_S: Final = 3600.0
"""Between two clean-ups of finished jobs."""
JOB_ERROR_CHARS_MAX: Final = 4096
"""Kept of the text of a failure; the whole of it is in the log."""

# Usage
USAGE_WRITE_S: Final = 0.1
"""For how long a record may be in memory only; with the write, below the 200 ms that a crash of the
server may cost."""
USAGE_IMPORT_S: Final = 1.0
"""From the journal to the database: one flush of the disk a second, however many calls."""
USAGE_BATCH_RECORDS_MAX: Final = 256
"""In one write: to encode them takes a tenth of a millisecond, in which nothing else runs."""
USAGE_IMPORT_RECORDS_MAX: Final = 4096
"""In one transaction: SQLite's only writer is taken for some hundredths of a second."""
USAGE_SEGMENT_BYTES_MAX: Final = 8 * MIB
"""Of one file of the journal: it is read whole."""
USAGE_JOURNAL_BYTES_MAX: Final = 1024 * MIB
"""Some four million calls that the database has not taken; after that, calls are refused."""
USAGE_HELD_RECORDS_MAX: Final = 50_000
"""In memory while neither the disk nor the database takes them; after that, calls are refused."""
USAGE_RETRY_S_MAX: Final = 30.0
"""How late a database that is back is noticed."""
USAGE_CLOSE_S: Final = 5.0
"""What the database gets at a stop to take the last records; the rest waits in the journal."""
USAGE_PRUNE_S: Final = 3600.0
"""Between two clean-ups of old records."""
USAGE_PRUNE_RECORDS_MAX: Final = 5000
"""In one step of a clean-up: other writers wait for some hundredths of a second."""
USAGE_PAGE_RECORDS_MAX: Final = 1000
"""In a page; a marker leads to the next one."""
USAGE_PAGE_RECORDS_MAX_DEFAULT: Final = 50
"""The same when nobody said how many: what the old service gave."""

# Error log
CALL_ERROR_INPUT_CHARS: Final = 128
"""Kept of the input of a failed call: what the old service kept."""
CALL_ERROR_MESSAGE_CHARS_MAX: Final = 4096
"""Kept of its message; authors put whole documents into them."""
CALL_ERROR_STACKTRACE_CHARS_MAX: Final = 16_384
"""Kept of its stack trace: more than a hundred frames."""
CALL_ERRORS_WRITE_S: Final = 0.5
"""For how long failed calls may be in memory only; with the write, everybody sees them after a
second."""
CALL_ERRORS_HELD_PER_ALGORITHM_MAX: Final = 200
"""In memory between two writes: as many as are shown. Of a storm the newest are kept."""
CALL_ERRORS_HELD_MAX: Final = 2000
"""The same of all algorithms: some megabytes mostly, 40 at worst."""
CALL_ERRORS_SHOWN_MAX: Final = 200
"""In one answer, which has no pages: what the old service gave."""
CALL_ERRORS_PER_ALGORITHM_MAX: Final = 1000
"""Kept of one algorithm: its callers see theirs beside the newest, and a storm fills no disk."""
CALL_ERRORS_KEEP_S: Final = 7 * 24 * 3600.0
"""For how long failed calls are kept: what the old service promised."""
CALL_ERRORS_PRUNE_S: Final = 3600.0
"""Between two clean-ups of old ones."""
CALL_ERRORS_PRUNE_ROWS_MAX: Final = 2000
"""In one step of a clean-up: other writers wait for some hundredths of a second."""
CALL_ERRORS_RETRY_S_MAX: Final = 30.0
"""How late a database that is back is noticed."""

# Source hosting elsewhere
SCM_TEXT_CHARS_MAX: Final = 1024
"""Of an address, a name or a token: several times what any host has."""
SCM_ANSWER_BYTES_MAX: Final = 4 * MIB
"""Of one answer of a host's API: pages hold a hundred entries of some kilobytes."""
SCM_ANSWER_S_MAX: Final = 20.0
"""For one answer: a person waits, usually for several of them."""
SCM_CONNECT_S: Final = 10.0
"""For a connection to a host's API, or to its SSH server."""
SCM_PAGES_MAX: Final = 10
"""Of a user's organizations: a thousand names are more than anybody chooses from."""
SCM_WORDS_CHARS_MAX: Final = 400
"""Of what a host says when it refuses: enough to see why, too little to flood a terminal."""
SCM_CLEANUP_S_MAX: Final = 30.0
"""For taking back what was set up at a host; the deletion of an algorithm does not wait longer."""
SCM_FETCH_S_MAX: Final = 900.0
"""For one fetch or push: the largest history over a slow line, but not one that never ends."""
SCM_LOOK_S_MAX: Final = 45.0
"""For a look at the head of a repository: a few hundred bytes."""
SCM_FETCH_BYTES_MAX: Final = 2048 * MIB
"""Of what one fetch may bring: models belong into the Data API, but histories grow."""
SCM_FETCHES_MAX: Final = 4
"""At the same time: each is a process of git, and some memory."""
SCM_POLLS_MAX: Final = SCM_FETCHES_MAX // 2
"""Looks at the same time that nobody waits for: they leave room for people who ask."""
SCM_STATUS_FRESH_S: Final = 30.0
"""A status that was found this recently is told again without asking the host."""
SCM_POLL_FIRST_S: Final = 10.0
"""After the start: pushes that were missed while the server was down are looked for soon."""
OAUTH_STATE_S: Final = 900.0
"""From the start of a connection in a browser to its end: time to find a second factor."""
OAUTH_STATES_PER_ACCOUNT_MAX: Final = 20
"""Begun and not finished; older ones make room."""
TOKEN_EARLY_S: Final = 120.0
"""How long before its end a token counts as expired: a request under way must not outlive it."""
WEBHOOK_BODY_BYTES_MAX: Final = 8 * MIB
"""Read before it is known who sends it. Larger ones exist and are refused; the poll finds those."""
WEBHOOK_DELIVERY_S: Final = 7 * 24 * 3600.0
"""For how long a delivery is remembered, so that nobody sends it twice."""
WEBHOOK_PRUNE_S: Final = 3600.0
"""Between two clean-ups of old deliveries and states."""

# Secrets
SECRET_KEY_CHARS_MAX: Final = 128
"""Of the variable's name: many times what anybody types."""
SECRET_TEXT_CHARS_MAX: Final = 1000
"""Of a name for people, or a description: a few sentences."""
SECRET_VALUE_BYTES_MAX: Final = 32 * 1024
"""Of one value: the longest are certificate chains and the keys of service accounts."""
SECRETS_JSON_BYTES_MAX: Final = 96 * 1024
"""Of all that an algorithm has, as JSON: they reach its slots in one packet, and the kernel takes
208 KiB in one."""
SECRETS_PER_ALGORITHM_MAX: Final = 100
"""More variables than anybody looks after; each is asked for when a slot starts."""
SECRET_PROVIDERS_MAX: Final = 50
"""A list is whole: there are no pages of providers."""
SECRET_PROVIDER_VALUE_CHARS_MAX: Final = 32 * 1024
"""Of one word of a provider's configuration: the longest is a certificate."""
SECRET_PROVIDER_ANSWER_S_MAX: Final = 10.0
"""For one answer of a provider; a call waits for it while its slot starts."""
SECRET_PROVIDER_REQUESTS_MAX: Final = 16
"""At the same time to one provider: slots start in crowds."""
SECRET_FRESH_S: Final = 60.0
"""For how long a value from outside is handed to further slots without asking again."""
SECRETS_FRESH_MAX: Final = 1000
"""Values from outside that are kept for that long; the oldest go first."""

# Accounts
ACCOUNT_TEXT_CHARS_MAX: Final = 100
"""Full name, e-mail address, company, label, contact: what the old service allowed."""
COMPANY_ROLE_CHARS_MAX: Final = 200
"""The same for what somebody does there."""
EXTERNAL_ID_CHARS_MAX: Final = 255
"""Of a subject in a sign-in token: what OpenID Connect allows."""
EXTERNAL_GROUPS_CHARS_MAX: Final = 4000
"""Of the tags of one role together: dozens of the long names that directories give to groups."""
OWNERS_OF_NEW_ORGANIZATION_MAX: Final = 100
"""Named when an organization is created; more can be added one by one."""
KEYS_PER_ACCOUNT_MAX: Final = 1000
"""One for every program of a large team; all of them are kept in memory."""
KEY_LABEL_CHARS_MAX: Final = 100
"""A few words for people."""
KEY_SECRET_CHARS_MIN: Final = 16
"""Of the value of a key that comes from elsewhere: 95 bits, if it is random."""
KEY_SECRET_CHARS_MAX: Final = 128
"""The same the other way: values have to fit into addresses and password fields."""
KEY_ACL_ENTRIES_MAX: Final = 200
"""Patterns of one key: each call with it goes through them."""
KEY_ACL_ENTRY_CHARS_MAX: Final = 160
"""Of one: the longest account and algorithm, and what stands around them."""
KEY_HOST_CHARS_MAX: Final = 260
"""Of `referer_host`: the longest name in the DNS, and a port."""
KEY_GRACE_S_DEFAULT: Final = 24 * 3600.0
"""For which the old value of a rotated key stays valid: a day to bring the new one everywhere."""
KEY_GRACE_S_MAX: Final = 30 * 24 * 3600.0
"""The same at most: a month; who needs longer creates another key."""
KEY_ENDED_KEPT_S: Final = 7 * 24 * 3600.0
"""After a key has expired: so long people see in the list why a program is refused."""
KEY_USE_WRITE_S: Final = 60.0
"""Between two notes of the last use of one key: precise enough to find those nobody uses."""
KEY_USE_FLUSH_S: Final = 5.0
"""Between two looks at which keys were used: what a crash can lose of that."""
KEY_EXPIRY_LOOK_S: Final = 0.2
"""Between two looks at which keys have expired; each is one comparison."""
KEY_ADDRESSES_MAX: Final = 100
"""Addresses of one key that are remembered: more than the programs of an office have. One that was
forgotten is told of as new again."""
KEY_ADDRESS_FORGOTTEN_S: Final = 3600.0
"""Between two notes that a key is still used from somewhere."""
KEY_ADDRESSES_PENDING_MAX: Final = 10_000
"""Uses of keys from somewhere, waiting to be noted: some megabytes, if somebody sends them all."""
AUDIT_TARGET_CHARS_MAX: Final = 500
"""Of what an entry of the audit log is about: an account, an algorithm or a path."""
AUDIT_DETAILS_MAX: Final = 20
"""Of what else is said in one entry: a dozen settings, before and after."""
AUDIT_DETAIL_CHARS_MAX: Final = 500
"""Of one of those."""
AUDIT_DENIED_PER_MINUTE_MAX: Final = 20
"""Refused requests of one account that get an entry each; the others are counted in the next one,
so that nobody fills the log by asking for what is not theirs."""
AUDIT_DENIED_PENDING_MAX: Final = 1000
"""Refusals waiting to be written, of all accounts together."""
AUDIT_FLUSH_S: Final = 1.0
"""Between two writings of refusals: what a crash can lose of them."""
AUDIT_CHECKPOINT_S: Final = 60.0
"""Between two checkpoints of the audit log, if there are new entries."""
AUDIT_CHECKPOINT_FILE_BYTES_MAX: Final = 4 * MIB
"""Of the file of checkpoints: weeks of them; then it begins anew with the newest one."""
AUDIT_LISTED_MAX_DEFAULT: Final = 50
"""Entries that the command line shows: what is read at a glance."""
AUDIT_BATCH_MAX: Final = 500
"""Entries read at a time when all of them are: a megabyte or less."""
DELETED_ACCOUNT_PASSES_MAX: Final = 5
"""Over what a deleted account has: requests that were under way may leave something more."""
SIGN_UPS_WAITING_MAX: Final = 64
"""Whose passwords are hashed one after the other, on one gateway: a class that begins together."""
INVITE_CODE_CHARS_MIN: Final = 8
"""Of a code with which somebody may sign up: strangers may try fifty in five minutes."""
INVITE_CODE_SHOWN_CHARS_MAX: Final = 2
"""To those who may look at invites and not use them, and in the audit log; of long codes only."""
INVITE_CODE_CHARS_MAX: Final = 100
"""A code is typed or sent; it need not be long."""
INVITE_COMMENT_CHARS_MAX: Final = 1000
"""What administrators note about one."""
INVITES_MAX: Final = 10_000
"""Kept at a time: they come as one list."""
ORGANIZATION_TYPES_MAX: Final = 1000
"""The same; three are usual."""
HOST_USERS_PER_UPDATE_MAX: Final = 1000
"""Algorithms that get a user of the host with one request."""
CONFIG_KEY_CHARS_MAX: Final = 64
"""Of the name of an entry for the front end: what the old service allowed."""
CONFIG_VALUE_CHARS_MAX: Final = 64 * 1024
"""Of its value: texts and colours; everybody may read them without a key."""
CONFIG_ENTRIES_MAX: Final = 1000
"""Of them all."""
FAVICON_BYTES_MAX: Final = 256 * 1024
"""An icon in several sizes; it is in the database, and every browser asks for it."""
LOGO_BYTES_MAX: Final = 2 * MIB
"""A large picture for large screens."""

# Signing in
SESSION_S_MAX: Final = 7 * 24 * 3600.0
"""From signing in to signing in again, however busy: a week."""
SESSION_IDLE_S_MAX: Final = 24 * 3600.0
"""Without a request: who comes back the next morning is still there."""
SESSIONS_PER_ACCOUNT_MAX: Final = 20
"""Browsers of one user; the one that was used longest ago makes room. All are kept in memory."""
SESSION_AGENT_CHARS_MAX: Final = 200
"""Of what a browser calls itself: enough for its user to recognize it in the list."""
SESSION_USE_WRITE_S: Final = 60.0
"""Between two notes of the last use of one session; others learn of each."""
SESSION_USE_FLUSH_S: Final = 5.0
"""Between two looks at which sessions were used: what a crash can lose of that."""
SESSION_LOOK_S: Final = 0.5
"""Between two looks at what other processes did to sessions, where nothing else is followed."""
SESSION_SWEEP_S: Final = 600.0
"""Between two removals of sessions that have ended by themselves."""
DENIED_SIGN_INS_KEPT_MAX: Final = 1000
"""Accounts and addresses between two writes to the audit log: it is kept for ever."""
SIGN_IN_S_MAX: Final = 900.0
"""From leaving for an identity provider to coming back: passwords, second factors, consent."""
RETURN_TO_CHARS_MAX: Final = 1000
"""Of the path that a browser goes to afterwards; cookies hold 4096 bytes."""
TOKEN_BYTES_MAX: Final = 16 * 1024
"""Of a signed token: those with hundreds of groups fit."""
TOKENS_KEPT_MAX: Final = 10_000
"""Verified tokens remembered; of more, those remembered first are verified again."""
TOKEN_CLOCK_SKEW_S: Final = 60.0
"""What an identity provider's clock may differ from ours."""
TOKEN_GROUPS_MAX: Final = 2000
"""In one token: more than directories put into one."""
IDENTITY_KEYS_PAUSE_S: Final = 10.0
"""Between two looks at a provider's keys because of a key that is not known: strangers can name
any."""
IDENTITY_KEYS_S_MAX: Final = 3600.0
"""A provider's keys are read again after that, so that those it has withdrawn do not count."""
IDENTITY_KEYS_MAX: Final = 100
"""Of one provider; a handful is usual."""
IDENTITY_ANSWER_S_MAX: Final = 10.0
"""For an answer of an identity provider; somebody waits for it."""
IDENTITY_ANSWER_BYTES_MAX: Final = MIB
"""The same in bytes: the longest document there is has a few kilobytes."""

# Sealing keys

RESEALING_PAGE_MAX: Final = 500
"""Read at a time while everything sealed is sealed anew: a megabyte at most, usually."""
RESEALING_SHOWN_MAX: Final = 20
"""Of what cannot be opened, the first ones are named; the others are counted."""

# Backups

BACKUP_HOLD_WAIT_S: Final = 10.0
"""For another backup of the same home to end, or for those who look whether there is one."""
BACKUP_CHUNK_BYTES: Final = MIB
"""Copied at a time: large reads for disks, little memory."""
BACKUP_MANIFEST_LINE_BYTES_MAX: Final = 64 * 1024
"""One file in the manifest: a path and a digest; what is longer was not written by us."""
BACKUP_PACKS_PASSES_MAX: Final = 20
"""Over the packs of one repository: git replaces them while they are copied, but seldom twice."""
BACKUP_PROGRESS_S: Final = 1.0
"""Between two lines that say how far a backup or a restore is."""
OPERATOR_ANSWER_S_MAX: Final = 60.0
"""For an answer of the running server to a command: deleting an account may take a while."""
OPERATOR_PAGE_MAX: Final = 1000
"""Users or organizations that a command asks for at a time."""

# Events and reports
REGISTRIES_MAX: Final = 1000
"""Kept at a time: they come as one list."""
REGISTRY_NAME_CHARS_MAX: Final = 32
"""What the old service allowed."""
REGISTRY_URL_CHARS_MAX: Final = 128
"""The same."""
REGISTRY_CREDENTIAL_CHARS_MAX: Final = 64
"""The same, of a name and of a password."""
LISTENERS_PER_ACCOUNT_MAX: Final = 1000
"""Event listeners of one user: they come as one list."""
LISTENER_TEXT_CHARS_MAX: Final = 255
"""Of every text of one: what the old service allowed."""
LISTENER_TIMEOUT_S_DEFAULT: Final = 420
"""For the calls of a listener that says nothing: what the old service gave."""
NOTIFICATIONS_PAGE_MAX: Final = 100
"""In one answer: what the old service allowed."""
NOTIFICATIONS_PAGE_MAX_DEFAULT: Final = 50
"""In an answer to whoever does not say how many."""
NOTIFICATION_TYPES_ASKED_MAX: Final = 50
"""Named in one question: there are two."""
NOTIFICATIONS_KEEP_S: Final = 90 * 24 * 3600.0
"""For so long: who has not looked for a season is not waiting for news."""
NOTIFICATIONS_PRUNE_S: Final = 3600.0
"""Between two removals of older ones."""
NOTIFICATIONS_READ_AT_ONCE_MAX: Final = 1000
"""Named in one request that marks them as read."""
INSIGHTS_PER_CALL_MAX: Final = 25
"""Pairs that one call may report: what the old service allowed."""
INSIGHTS_BYTES_PER_CALL_MAX: Final = 25 * 1024
"""In all their keys and values together: the same."""
INSIGHTS_BODY_BYTES_MAX: Final = 256 * 1024
"""Of one report as JSON, which may spell every character as six."""
INSIGHTS_BROKERS_CHARS_MAX: Final = 1024
"""Of the addresses of brokers: a dozen long names."""
INSIGHTS_TOPIC_CHARS_MAX: Final = 249
"""What Kafka allows."""
INSIGHTS_TEXT_CHARS_MAX: Final = 255
"""Of a name and of a password for brokers."""
INSIGHTS_CERTIFICATE_CHARS_MAX: Final = 64 * 1024
"""Of certificate authorities: a bundle of a company."""
INSIGHTS_WAITING_MAX: Final = 10_000
"""Records of one gateway on their way; then the newest are lost, and counted."""
INSIGHTS_WAITING_BYTES_MAX: Final = 64 * MIB
"""The same in bytes: two thousand of the largest."""
INSIGHTS_BATCH_MAX: Final = 500
"""Records that are sent together."""
INSIGHTS_GATHER_S: Final = 0.1
"""Between two batches: records that come one by one are sent together."""
INSIGHTS_LIFE_S: Final = 240.0
"""For which a record is tried to be sent, then it is lost: what the old service did."""
INSIGHTS_RETRY_S_FIRST: Final = 0.5
"""Before brokers that did not take a record are asked again."""
INSIGHTS_RETRY_S_MAX: Final = 15.0
"""Delays double up to here."""
INSIGHTS_SEND_S_MAX: Final = 30.0
"""For one attempt; brokers that say nothing for so long are tried anew."""
INSIGHTS_STOP_S: Final = 5.0
"""For what is still on its way when the server stops."""
GOVERNANCE_DAYS_MAX: Final = 400
"""In one report: a year and the month around it."""
GOVERNANCE_ROWS_MAX: Final = 50_000
"""Of one report: some megabytes; longer ones are asked for in parts."""
GOVERNANCE_SNAPSHOT_S: Final = 900.0
"""Between two notes of what accounts store: the last one of a day is that day's."""
GOVERNANCE_DAYS_KEPT_MAX: Final = 800
"""For which those notes are kept: two years and a quarter."""
