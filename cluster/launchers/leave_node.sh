# `bash leave_node.sh FOLDER STATUS`: what a job's script runs when its task has ended with STATUS.
#
# A task that could not work on its node is put back into the queue, without that node. Two signs
# tell: exit status 4 (`UNFIT`: the node failed its check), or no word in the events of this start
# (Python, submitit or our code could not be started). A job of several nodes (Ray) is put back when
# its driver never started because of some of them. It is shell, because Python may be what is
# missing. Every other end is passed on. FOLDER is the submission's.
trap '' TERM  # of our own requeue: the node must be left out before this job ends

folder=$1 status=$2 tries=3 linger=60

name=$SLURM_JOB_ID
[ -n "$SLURM_ARRAY_JOB_ID" ] && name=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
label=$name.r${SLURM_RESTART_COUNT:-0}
nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST:-$SLURMD_NODENAME}")
count=$(echo "$nodes" | wc -l)

events() {  # of this start
    cat "$folder/events/$label"[.-]*jsonl 2>/dev/null
}

last_words() {  # the last line of the log that is not srun's report of an exit status
    cat "$folder/jobs/${name}_"*log.out 2>/dev/null | tr -d '"\\' | tr -cd '[:print:]\n' |
        grep -v -e '^srun: error: .*[Ee]xited with' -e '^ *$' | tail -n 1 | cut -c 1-300
}

note() {  # as `cluster.record.submission.Events`, for each bad node: what came of it
    local node why
    for node in $bad; do
        why=check
        case " $silent " in *" $node "*) why="Python did not start (exit status $status): $words" ;; esac
        printf '{"at": %s, "event": "unfit", "job": "%s", "node": "%s", "why": "%s", "then": "%s"}\n' \
            "$(date +%s.%3N)" "$label" "$node" "$why" "$1" >>"$folder/events/$label-unfit.jsonl"
        echo "$node is unfit: $why; $1"
    done
}

case $status in 130 | 137 | 140 | 143) exit "$status" ;; esac  # somebody ended it by a signal
bad='' silent=''
for node in $nodes; do
    if ! events | grep -q "\"node\": \"$node\""; then
        bad="$bad $node" silent="$silent $node"
    elif events | grep '"ok": false' | grep -q "\"node\": \"$node\""; then
        bad="$bad $node"
    fi
done
if [ "$count" -gt 1 ]; then
    events | grep -q '"event": "driver"' && exit "$status"
elif [ "$status" != 4 ] && [ -z "$silent" ]; then
    exit "$status"
fi
[ -n "$bad" ] || exit "$status"
words=$(last_words)
words=${words:-it left no message}
[ "$status" = 0 ] && status=4

unfit=$(cat "$folder"/events/*-unfit.jsonl 2>/dev/null | sed -n 's/.*"node": "\([^"]*\)".*/\1/p')
job=$(scontrol --oneliner show job "$name" | tr ' ' '\n')
state=$(echo "$job" | sed -n 's/^JobState=//p')
given=$(echo "$job" | sed -n 's/^ExcNodeList=//p')
[ "$given" = "(null)" ] && given=
[ "$state" = RUNNING ] || exit "$status"  # cancelled, or requeued by somebody
without=$(printf '%s\n' $given $unfit $bad | sort -u | paste -s -d, -)
left=$(sinfo --noheader --Node --partition="$SLURM_JOB_PARTITION" --format=%N | sort -u |
    grep -v -x -F "$(scontrol show hostnames "$without")" | wc -l)

before=$(ls "$folder/events/$name".r*-unfit.jsonl 2>/dev/null | wc -l)
touch "$folder/events/$label-unfit.jsonl" || before=${SLURM_RESTART_COUNT:-0}
if [ $((before + 1)) -ge "$tries" ]; then
    note "given up: $tries starts of this task met nodes that could not train"
elif [ "$left" -lt "$count" ]; then
    note "given up: no other node is left in partition $SLURM_JOB_PARTITION"
elif ! refused=$(scontrol requeue "$name" 2>&1); then
    note "given up: SLURM refuses the requeue ($(echo "$refused" | tr -d '"\\' | tail -n 1))"
else
    # first our own place; then tasks that wait, which would try this node too (others are refused)
    scontrol update JobId="$name" ExcNodeList="$without"
    [ -n "$SLURM_ARRAY_JOB_ID" ] &&
        scontrol update JobId="$SLURM_ARRAY_JOB_ID" ExcNodeList="$without" >/dev/null 2>&1
    note "requeued without $without"
    sleep "$linger"  # until SLURM ends this start: returning first would count as finished
fi
exit "$status"
