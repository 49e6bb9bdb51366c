//! What a seed counts, and what each count means to an operator.

/// Every counter, and what it tells. A seed shows those that are not 0.
pub const COUNTERS: [(&str, &str); 35] = [
    ("admissions_held_again", "ballots about a joiner whose predecessor changed meanwhile"),
    ("ballots_held_again", "ballots about a death that nobody could decide, or whose evidence was too old"),
    ("ballots_joined", "reports about a member of whom a ballot was open"),
    ("ballots_lost", "ballots about deaths that found too few votes: mostly, the member lives"),
    ("ballots_of_absence", "ballots about members that no session and no link is known of"),
    ("ballots_undecided", "ballots about deaths that too few seeds could tell about; they are held again"),
    ("ballots_waited", "doubts about the silent that the seeds were not asked about at once: too many"),
    ("connections_broken_off", "connections on which somebody did not speak as a node does"),
    ("connections_cut_off", "connections whose other end did not read"),
    (
        "connections_over_limit",
        "connections that came when there were too many: for each another one was closed, or it itself soon after",
    ),
    ("connections_with_a_host_over_limit", "the same, of a host that had half of all that may be"),
    (
        "departures_without_the_secret",
        "departures that somebody asked for who does not know that life's secret",
    ),
    ("errands_before_leading", "requests that came before this seed knew that it leads; they waited"),
    ("frames_out_of_place", "messages on sessions that nobody may say there"),
    ("hints_dropped", "doubts of peers that were not looked into: too many, or of no member"),
    ("log_of_empty_seeds_refused", "log entries that a seed with an emptied directory wanted taken"),
    ("loops_late", "times that this process stood still; what waits is read before anybody is judged"),
    ("mesh_frames_out_of_place", "messages of seeds that came on a connection for other things"),
    ("neighbours_over_limit", "lists of links with more than a peer may have"),
    ("probes_of_one_connection", "probes beyond what doubts may cost: they can prove a death, or life"),
    ("probes_over_limit", "probes that were not made, so many were under way"),
    ("proposals_failed", "entries that the log did not take, mostly for another seed leads"),
    ("proposals_over_limit", "ballots of the leader without this seed's vote: too many waited"),
    ("proposals_waited", "ballots of the leader that waited for this seed's log to catch up"),
    ("reports_late", "reports about members that were none any more: others had been sooner"),
    ("requests_dropped", "requests that were too many at a time; who asks asks again"),
    ("requests_undecided", "reports and departures that no majority answered in time"),
    (
        "seeds_of_the_same_id",
        "seeds that have, by their log, the id by which this one goes while its own is empty",
    ),
    ("sessions_behind", "times that a session was sent the whole view, for it lagged too far"),
    ("sessions_of_other_clusters", "sessions of members of another cluster, which were turned away"),
    (
        "sessions_silent_together",
        "times that most members fell silent at once: this seed doubts itself first",
    ),
    ("voter_changes", "changes of the voters that this seed began as leader"),
    ("voter_changes_failed", "changes of the voters that did not come about; they are tried again"),
    ("votes_by_what_was_heard", "votes that a member lives, for it had just been heard"),
    ("votes_out_of_place", "votes that came twice, for ballots that were closed, or of seeds without a vote"),
];

/// What a counter tells; nothing of one that this version does not know.
pub fn explain(name: &str) -> Option<&'static str> {
    COUNTERS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
