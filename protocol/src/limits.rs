//! Every bound in one place, with the relations between them asserted at compile time (AI-7).
//!
//! A queue in `node` takes its length from here, so a full one is a bug and not a condition to handle.

use std::time::Duration;

/// Bytes of one group, the unit of verification: 2^16.
pub const GROUP_BYTES: u64 = 1 << 16;
/// The same as a power of two over BLAKE3's 1 KiB chunk.
pub const GROUP_CHUNK_LOG: u8 = 6;
/// Blocks of one layout at the most.
pub const BLOCKS_MAX: u32 = 1 << 12;
/// Blocks of a layout, as long as they are not larger than [`SMALL_BLOCK_GROUPS_LOG`] says: between half of it and all. Each block is
/// asked for, answered and told of on its own, which is most of what a small release costs, and more of them bring its last site hardly sooner.
pub const SMALL_BLOCKS_MAX: u32 = 1 << 10;
/// The largest of such blocks, 2^k groups: 1 MiB. Of a release of which that would be more than [`SMALL_BLOCKS_MAX`], there are up to [`BLOCKS_MAX`].
pub const SMALL_BLOCK_GROUPS_LOG: u32 = 4;
/// Groups of one layout at the most: 2^28 × 64 KiB = 16 TiB.
pub const GROUPS_MAX: u32 = 1 << 28;
/// Lines of an entries list.
pub const ENTRIES_MAX: u32 = 1_000_000;
/// Bytes of an entries list.
pub const ENTRIES_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one line of an entries list.
pub const ENTRY_LINE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a path inside a release, and of one of its components.
pub const PATH_BYTES_MAX: usize = 4096;
/// See [`PATH_BYTES_MAX`].
pub const PATH_COMPONENT_BYTES_MAX: usize = 255;
/// Components of a path inside a release: each costs an open folder while a release is placed.
pub const PATH_COMPONENTS_MAX: usize = 64;
/// Bytes of what is remembered of a release that lies in a folder: its list, with a stamp for each entry.
pub const RECORD_BYTES_MAX: u64 = 4 * ENTRIES_BYTES_MAX;
/// Different platform sets in one release.
pub const PLATFORM_SETS_MAX: usize = 64;
/// Platforms in one of them.
pub const PLATFORMS_PER_SET_MAX: usize = 16;
/// Other products that a release may depend on.
pub const DEPENDENCIES_MAX: usize = 64;
/// Bytes of a version's text.
pub const VERSION_BYTES_MAX: usize = 64;
/// Bytes of a manifest head.
pub const HEAD_BYTES_MAX: u64 = 64 << 10;
/// Attachments of a release.
pub const ATTACHMENTS_MAX: usize = 256;
/// Bytes of one metadata file (root, timestamp, snapshot, targets and delegated targets).
pub const METADATA_BYTES_MAX: u64 = 8 << 20;
/// Bytes of one signed statement (grant, enrolment, contact, request) as it travels.
pub const ENVELOPE_BYTES_MAX: usize = 16 << 10;
/// Signatures on one statement.
pub const STATEMENT_SIGNATURES_MAX: usize = 8;
/// Enrolments between a grant and the key that shows it: a node with the right `enrol`, a host, a fetch of it.
pub const ENROLMENTS_MAX: usize = 3;
/// Channels that one grant names, and channels of a product.
pub const CHANNELS_MAX: usize = 32;
/// Bytes of a channel's name.
pub const CHANNEL_NAME_BYTES_MAX: usize = 32;
/// Releases on one channel.
pub const CHANNEL_RELEASES_MAX: usize = 4096;
/// Addresses in one contact.
pub const CONTACT_ADDRESSES_MAX: usize = 8;
/// Bytes of one address, and of a region's name.
pub const CONTACT_TEXT_BYTES_MAX: usize = 160;
/// Sites of a product whose lists of revoked nodes are remembered; a machine's own site always is, as one more if need be.
pub const SITES_REMEMBERED_MAX: usize = 256;
/// How long after a site's list the next one of that site is taken: each is made durable while everything else waits.
pub const SITE_REVOCATIONS_INTERVAL: Duration = Duration::from_secs(10);
/// Nodes on one site's list of revoked nodes.
pub const SITE_REVOKED_MAX: usize = 128;
/// Bytes of such a list, signed, as it travels.
pub const SITE_REVOCATIONS_BYTES_MAX: usize = 12 << 10;
/// Bytes of a node's id in JSON: its longest text, quotes and a comma.
const NODE_ID_JSON_BYTES_MAX: usize = 56;
/// Bytes of a reason given for a recall.
pub const REASON_BYTES_MAX: usize = 1024;
/// Bytes of a request file.
pub const REQUEST_FILE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a join file, and products in one.
pub const JOIN_BYTES_MAX: usize = 64 << 20;
/// See [`JOIN_BYTES_MAX`].
pub const JOIN_PRODUCTS_MAX: usize = 64;
/// Bytes of one set of metadata files.
pub const METADATA_SET_BYTES_MAX: u64 = 32 << 20;
/// How long a peer whose metadata was not what it said is not asked for any; twice as long after each time.
pub const METADATA_PAUSE: Duration = Duration::from_secs(60);
/// Doublings of it at the most.
pub const METADATA_PAUSE_DOUBLINGS_MAX: u32 = 6;
/// Root rotations followed in one refresh.
pub const ROOT_ROTATIONS_MAX: u32 = 256;

/// Neighbours that a node dials.
pub const NEIGHBOURS_MAX: usize = 32;
/// Places beside those, for hosts (leaves) and for nodes that dial.
pub const LEAVES_MAX: usize = 96;
/// Connections with admitted peers, all together.
pub const PEERS_MAX: usize = NEIGHBOURS_MAX + LEAVES_MAX;
/// Of these, with peers that dialled; the rest is for whom this node dials itself.
pub const PEERS_LET_IN_MAX: usize = 112;
/// Of these, with members of other sites; the rest is for the own site and for origins.
pub const OTHERS_LET_IN_MAX: usize = 96;
/// Of these, with nodes, and with hosts.
pub const OTHERS_NODES_MAX: usize = 64;
/// See [`OTHERS_NODES_MAX`].
pub const OTHERS_HOSTS_MAX: usize = 64;
/// Nodes of one other site, and hosts of one: a customer has as many keys as it likes, and not as many places.
pub const NODES_PER_SITE_MAX: usize = 8;
/// See [`NODES_PER_SITE_MAX`].
pub const HOSTS_PER_SITE_MAX: usize = 24;
/// Connections that have not yet been admitted.
pub const UNADMITTED_MAX: usize = 16;
/// The same from one address; of IPv6 from one network of 64 bits, which is what one machine may have to itself.
pub const UNADMITTED_PER_ADDRESS_MAX: usize = 4;
/// Bytes of a hello message.
pub const HELLO_BYTES_MAX: usize = 8 << 10;
/// Of these, credentials: a grant and its enrolments.
pub const CREDENTIALS_BYTES_MAX: usize = 7 << 10;
/// Bytes of a summary of metadata versions.
pub const SUMMARY_BYTES_MAX: usize = 512;
/// Wire versions that a hello may name.
pub const WIRE_VERSIONS_MAX: usize = 16;
/// How long a connection may take to be admitted.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one control message.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;
/// Signed contacts in one control message.
pub const CONTACTS_PER_MESSAGE_MAX: usize = 16;
/// Bytes of one signed contact.
pub const CONTACT_BYTES_MAX: usize = 3 << 10;
/// Pings and control messages of unknown types taken from one peer in one second: nobody has a use for so many.
pub const CONTROL_NOISE_MAX: u32 = 200;
/// Control messages queued towards one peer.
pub const CONTROL_QUEUE_MAX: usize = 256;
/// Bytes of them; a peer that lets more gather is disconnected.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 1 << 20;
/// Long-lived data streams per peer and direction.
pub const DATA_STREAMS_MAX: usize = 4;
/// The least receive window that yamux allows a stream.
pub const YAMUX_WINDOW_MIN: u64 = 256 << 10;
/// Bytes by which the windows of one connection may grow, together. All of it is in memory as soon as a peer sends faster than
/// the disk takes, and a window never shrinks. Over a long way with losses it has to hold some four round trips of the line: one
/// that is under way, one or two that wait in the kernel for what was lost, and half, as only what was read of a window comes back.
pub const WINDOW_GROWTH_MAX: u64 = 8 << 20;
/// Inbound streams of one connection that wait to be looked at; more are reset.
pub const STREAMS_WAITING_MAX: usize = 2;
/// Inbound streams of one connection that are choosing their protocol.
pub const STREAMS_NEGOTIATING_MAX: usize = 4;
/// Bytes that a connection that is not admitted may have sent and nobody has read: a least window for each stream that it
/// may have, the one of its hello among them. A QUIC connection's window is never larger.
pub const STRANGER_BYTES_MAX: u64 = YAMUX_WINDOW_MIN * (STREAMS_WAITING_MAX + STREAMS_NEGOTIATING_MAX + 1) as u64;
/// Streams that overtook their connection's control stream, over all connections of peers that were answered; they wait for it.
pub const EARLY_STREAMS_MAX: usize = 8;
/// Of these, one connection's: a further hello, data, and control itself while the answer is on its way.
pub const EARLY_STREAMS_PER_CONNECTION_MAX: usize = 3;
/// Substreams of one connection, both directions: control and hello each way, data both ways, two spare.
pub const SUBSTREAMS_MAX: usize = 2 * DATA_STREAMS_MAX + 6;

/// Ranges in one request.
pub const REQUEST_RANGES_MAX: usize = 64;
/// Bytes that one request may name.
pub const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// Requests outstanding towards one peer, or accepted from one.
pub const REQUESTS_PER_PEER_MAX: usize = 16;
/// Bytes of one ask on a data stream.
pub const ASK_BYTES_MAX: usize = 1 << 10;
/// Bytes of the name of a file asked for on a data stream.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// How long a peer that is asked for a file may send nothing of it before the next is asked; twice as long after each time
/// in a row that it was late, so that one behind a narrow link is waited for in the end.
pub const FILE_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Doublings of it at the most.
pub const FILE_PATIENCE_DOUBLINGS_MAX: u32 = 5;
/// Bytes of a file that have to come in each second beyond the first silence: who drips has no more time than who is still.
pub const FILE_RATE_MIN: u64 = 1 << 10;
/// Bytes of one chunk of a file sent on a data stream.
pub const FILE_CHUNK_BYTES_MAX: usize = 64 << 10;
/// Proof bytes of one group frame: two 32-byte hashes a level over 2^28 groups, at the most.
pub const PROOF_BYTES_MAX: usize = 64 * 64;
/// Bytes read from the store and not yet taken by the sockets, over all peers.
pub const SERVE_BYTES_MAX: u64 = 8 << 20;
/// Bytes read and hashed again in one go because a peer could not verify what it was sent; at least a block.
pub const RECHECK_BYTES_MAX: u64 = 32 << 20;
/// The same a second, over all peers: what is begun beyond has to wait.
pub const RECHECK_RATE: u64 = 64 << 20;
/// How long one peer has nothing more read again after that.
pub const RECHECK_PAUSE: Duration = Duration::from_secs(4);
/// Bytes received and not yet verified and written, over all peers.
pub const RECEIVE_BYTES_MAX: u64 = 4 << 20;

/// The most time between two checkpoints of a transfer that makes progress, on a node: other nodes count on what it holds.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);
/// The same for a host's fetch, which serves nobody: a power loss costs it so much time and nobody else anything. It is what
/// ext4 takes between two commits of its own.
pub const LEAF_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// The most bytes between two checkpoints: what the interval brings at 1 GiB/s. A checkpoint waits for the disk, and every
/// write to a file that is being synced waits with it (measured: one every 256 MiB cost a fetch of 1 GiB a fifth of its time).
pub const CHECKPOINT_BYTES: u64 = 2 << 30;

/// Artifacts and packs whose files the store keeps open; each has two.
pub const STORE_OPEN_BODIES_MAX: usize = 192;

/// Peers that something is held against at the most; the least blamed are forgotten first.
pub const STANDINGS_MAX: usize = 1024;
/// Bytes of the file that keeps them from one run of a node to the next.
pub const STANDINGS_BYTES_MAX: u64 = 512 << 10;

/// Transfers known at a time (fetching or serving), two per release.
pub const TRANSFERS_MAX: usize = 512;
/// Releases that a node takes part in: each has two layouts, the list of its files and the files.
pub const RELEASES_MAX: usize = TRANSFERS_MAX / 2;
/// Of these, releases that no followed channel lists any more or yet, and that are here because a host asked for them.
pub const ASKED_RELEASES_MAX: usize = 16;
/// How long such a release is kept after it was asked for last.
pub const ASKED_RELEASE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Layouts of which an origin shows one peer blocks at a time: what it keeps for each is as large as the layout has
/// blocks. A peer that wants more of them gets them one after the other.
pub const LINES_NEEDING_MAX: usize = 8;
/// Contacts remembered for a product.
pub const CONTACTS_MAX: usize = 256;
/// Of these, contacts of others that one peer has told.
pub const CONTACTS_PER_TELLER_MAX: usize = 64;
/// Other customers' nodes that one node is told of for a product, from one meeting or day to the next.
pub const CONTACTS_ACROSS_TENANTS_MAX: usize = 16;
/// How long after others were told of a node they are told of it again: whoever comes and goes makes a message to everybody
/// who is there, each time.
pub const INTRODUCTION_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of a node's configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one line on a node's Unix socket, either way. What is larger travels as files.
pub const ADMIN_LINE_BYTES_MAX: usize = 1 << 20;
/// Files that go with one request on that socket.
pub const ADMIN_FILES_MAX: usize = 64;
/// Verbs connected to that socket at a time.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Calls of verbs that wait for the daemon.
pub const ADMIN_CALLS_MAX: usize = 16;
/// Answers to one call that wait for its verb to read them; progress beyond is dropped.
pub const ADMIN_ANSWERS_MAX: usize = 64;
/// Events that wait for a watcher; the oldest are dropped beyond, and the watcher is told.
pub const EVENT_FEED_MAX: usize = 1024;
/// Connections of programs that ask for metrics.
pub const METRICS_CONNECTIONS_MAX: usize = 8;

const _: () = assert!(GROUP_BYTES == 1024 << GROUP_CHUNK_LOG, "a group is 2^k chunks of 1 KiB");
const _: () = assert!(
    REQUEST_BYTES_MAX.is_multiple_of(GROUP_BYTES),
    "requests name whole groups"
);
const _: () = assert!(
    RECHECK_BYTES_MAX >= REQUEST_BYTES_MAX && RECHECK_BYTES_MAX <= RECHECK_RATE,
    "all of a failed request can be read again, and half a second later what somebody else names"
);
const _: () = assert!(PROOF_BYTES_MAX >= 64 * 28, "a proof holds a pair a level");
const _: () = assert!(
    (CONTACT_ADDRESSES_MAX + 1) * (CONTACT_TEXT_BYTES_MAX + 3) * 4 / 3 + 1024 <= CONTACT_BYTES_MAX,
    "a contact's texts in base64, with its other fields and signature, fit a contact"
);
const _: () = assert!(
    (SITE_REVOKED_MAX * NODE_ID_JSON_BYTES_MAX + 256).div_ceil(3) * 4 + 512 <= SITE_REVOCATIONS_BYTES_MAX,
    "a full list in base64, with its other fields and signature, fits its bound"
);
const _: () = assert!(
    SITE_REVOCATIONS_BYTES_MAX <= ENVELOPE_BYTES_MAX && SITE_REVOCATIONS_BYTES_MAX + 64 <= CONTROL_BYTES_MAX,
    "a list that travels is a statement like any other, and fits a control message"
);
const _: () = assert!(
    METADATA_BYTES_MAX <= METADATA_SET_BYTES_MAX,
    "a set holds the largest file"
);
const _: () = assert!(
    64 + 8 * REQUEST_RANGES_MAX <= ASK_BYTES_MAX && 64 + FILE_NAME_BYTES_MAX <= ASK_BYTES_MAX,
    "every ask fits its frame"
);
const _: () = assert!(
    CONTROL_BYTES_MAX <= CONTROL_QUEUE_BYTES_MAX,
    "the largest message can be queued"
);
const _: () = assert!(
    (CONTROL_NOISE_MAX as usize) < CONTROL_QUEUE_MAX,
    "a flood of pings is seen before its answers fill the queue"
);
const _: () = assert!(
    SERVE_BYTES_MAX + RECEIVE_BYTES_MAX + WINDOW_GROWTH_MAX <= 20 << 20,
    "payload in memory, and what one fast peer has sent ahead of it, leave 44 of 64 MiB for windows, tables and the program"
);
const _: () = assert!(
    HELLO_BYTES_MAX as u64 <= YAMUX_WINDOW_MIN,
    "a hello fits the least window"
);
const _: () = assert!(
    UNADMITTED_MAX as u64 * STRANGER_BYTES_MAX <= 28 << 20
        && UNADMITTED_PER_ADDRESS_MAX as u64 * STRANGER_BYTES_MAX <= 7 << 20,
    "strangers cost at most 28 of 64 MiB, those from one address 7, and payload in memory 16"
);
const _: () = assert!(
    EARLY_STREAMS_MAX as u64 * YAMUX_WINDOW_MIN <= 2 << 20,
    "a least window for each stream that waits for its control stream: 2 MiB beside what strangers cost"
);
const _: () = assert!(
    2 * EARLY_STREAMS_PER_CONNECTION_MAX < EARLY_STREAMS_MAX,
    "no two connections take all places of early streams"
);
const _: () = assert!(
    OTHERS_LET_IN_MAX < PEERS_LET_IN_MAX && PEERS_LET_IN_MAX < PEERS_MAX,
    "others leave places for the own site, and all who dial leave some for whom this node dials"
);
const _: () = assert!(
    OTHERS_NODES_MAX < OTHERS_LET_IN_MAX && OTHERS_HOSTS_MAX < OTHERS_LET_IN_MAX,
    "neither nodes nor hosts take all"
);
const _: () = assert!(
    3 * (NODES_PER_SITE_MAX + HOSTS_PER_SITE_MAX) <= OTHERS_LET_IN_MAX,
    "no one customer's site takes more than a third"
);
// A peer that we never read costs what its control queue may hold.
const _: () = assert!(
    BLOCKS_MAX as usize / 8 + 256 <= CONTROL_BYTES_MAX,
    "a whole bitmap fits one control message"
);
const _: () = assert!(
    4 * CONTACTS_PER_TELLER_MAX <= CONTACTS_MAX && CONTACTS_ACROSS_TENANTS_MAX <= CONTACTS_PER_TELLER_MAX,
    "no one teller fills the table, and what an origin tells of other customers is taken"
);
const _: () = assert!(
    STANDINGS_MAX as u64 * 512 <= STANDINGS_BYTES_MAX,
    "every standing fits the file"
);
const _: () = assert!(ADMIN_FILES_MAX <= 253, "the kernel passes at most 253 files at once");
