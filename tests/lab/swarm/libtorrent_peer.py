"""One libtorrent peer of `lab swarm`: the origin, which has the file, or a site, which wants it.

Usage: libtorrent_peer.py origin|super-origin|site TORRENT FOLDER ADDRESS:PORT OTHER,OTHER..

It says `listening`, is told (SIGUSR1) to dial the others and says `connected` when each that it dials has answered. A site is
then told once more (SIGUSR1) to fetch, and says `complete` when libtorrent has verified and stored every piece.

Settings are libtorrent's own but for two things: peers are found through the addresses alone, over TCP alone; and two peers
that want nothing from each other stay connected, since before they are told to fetch that is what all of them are.
"""

import signal
import sys
import time

import libtorrent

TOLD = signal.SIGUSR1
SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "close_redundant_connections": False,
    "alert_mask": libtorrent.alert.category_t.status_notification | libtorrent.alert.category_t.error_notification,
}
# Of a piece: not wanted, and wanted as libtorrent wants it by default.
UNWANTED, WANTED = 0, 4


def say(what):
    print(what, file=sys.stderr, flush=True)


def wait_alert(session, kind):
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.listen_failed_alert) or isinstance(alert, libtorrent.torrent_error_alert):
                sys.exit(alert.message())
            if isinstance(alert, kind):
                return


def add(session, role, torrent, folder):
    flags = libtorrent.torrent_flags
    params = libtorrent.add_torrent_params()
    params.ti = libtorrent.torrent_info(torrent)
    params.save_path = folder
    params.flags &= ~(flags.auto_managed | flags.paused)
    # Everybody's address is given. Hearing it from others too, peers would dial each other across.
    params.flags |= flags.disable_pex
    if role != "site":
        params.flags |= flags.seed_mode
    if role == "super-origin":
        params.flags |= flags.super_seeding
    handle = session.add_torrent(params)
    if role == "site":
        handle.prioritize_pieces([UNWANTED] * params.ti.num_pieces())
    elif not handle.status().is_seeding:
        sys.exit("the origin does not seed")
    if role == "super-origin" and not handle.flags() & flags.super_seeding:
        sys.exit("the origin does not super-seed")
    return handle


def meet(handle, own, others):
    # One of each two dials: when both do at once, each may drop the connection that the other keeps.
    missing = {other[0] for other in others if other < own}
    for other in others:
        if other < own:
            handle.connect_peer(other)
    unfinished = libtorrent.peer_info.connecting | libtorrent.peer_info.handshake
    while missing:
        time.sleep(0.02)
        missing -= {peer.ip[0] for peer in handle.get_peer_info() if not peer.flags & unfinished}


def at(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def main():
    role, torrent, folder, address, others = sys.argv[1:6]
    # Before libtorrent starts its threads: a signal that comes early waits until it is asked for.
    signal.pthread_sigmask(signal.SIG_BLOCK, {TOLD})
    session = libtorrent.session(SETTINGS | {"listen_interfaces": address})
    wait_alert(session, libtorrent.listen_succeeded_alert)
    handle = add(session, role, torrent, folder)
    say("listening")
    signal.sigwait({TOLD})
    meet(handle, at(address), [at(other) for other in others.split(",")])
    say("connected")
    signal.sigwait({TOLD})
    handle.prioritize_pieces([WANTED] * handle.torrent_file().num_pieces())
    # It has said before that it has all it wants, when that was nothing.
    while not handle.status().is_seeding:
        session.wait_for_alert(20)
        session.pop_alerts()
    say("complete")
    signal.pause()


main()
