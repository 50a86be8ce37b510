# `bash elsewhere.sh FOLDER STATUS`: what a job's script runs when its task has ended with STATUS.
#
# A task that could not work on this node is put back into the queue, without this node. Two signs
# tell: exit status 4 (`UNFIT`: the node failed its check), or no word in the events of this start
# (Python, submitit or our code could not be started). It is shell, because Python may be what is
# missing. Every other end is passed on. FOLDER is the submission's.
trap '' TERM  # of our own requeue: the node must be left out before this job ends

folder=$1 status=$2 tries=3 linger=60

name=$SLURM_JOB_ID
[ -n "$SLURM_ARRAY_JOB_ID" ] && name=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
label=$name.r${SLURM_RESTART_COUNT:-0}
node=$SLURMD_NODENAME

last_words() {  # the last line of the log that is not srun's report of an exit status
    cat "$folder/jobs/${name}_"*log.out 2>/dev/null | tr -d '"\\' | tr -cd '[:print:]\n' |
        grep -v -e '^srun: error: .*[Ee]xited with' -e '^ *$' | tail -n 1 | cut -c 1-300
}

note() {  # as `cluster.submission.Events`: WHY, and what comes of it
    printf '{"at": %s, "event": "unfit", "job": "%s", "node": "%s", "why": "%s", "then": "%s"}\n' \
        "$(date +%s.%3N)" "$label" "$node" "$1" "$2" >>"$folder/events/$label-unfit.jsonl"
    echo "unfit: $1; $2"
}

case $status in 130 | 137 | 140 | 143) exit "$status" ;; esac  # somebody ended it by a signal
if [ "$status" = 4 ]; then
    why=check
elif ! ls "$folder/events/$label"[.-]* >/dev/null 2>&1; then
    why=$(last_words)
    why="Python did not start (exit status $status): ${why:-it left no message}"
else
    exit "$status"
fi
[ "$status" = 0 ] && status=4

unfit=$(cat "$folder"/events/*-unfit.jsonl 2>/dev/null | sed -n 's/.*"node": "\([^"]*\)".*/\1/p')
job=$(scontrol --oneliner show job "$name" | tr ' ' '\n')
state=$(echo "$job" | sed -n 's/^JobState=//p')
given=$(echo "$job" | sed -n 's/^ExcNodeList=//p')
[ "$given" = "(null)" ] && given=
[ "$state" = RUNNING ] || exit "$status"  # cancelled, or requeued by somebody
without=$(printf '%s\n' $given $unfit "$node" | sort -u | paste -s -d, -)
left=$(sinfo --noheader --Node --partition="$SLURM_JOB_PARTITION" --format=%N | sort -u |
    grep -v -x -F "$(scontrol show hostnames "$without")")

before=$(ls "$folder/events/$name".r*-unfit.jsonl 2>/dev/null | wc -l)
touch "$folder/events/$label-unfit.jsonl" || before=${SLURM_RESTART_COUNT:-0}
if [ $((before + 1)) -ge "$tries" ]; then
    note "$why" "given up: this task was on $tries nodes, and none could train"
elif [ -z "$left" ]; then
    note "$why" "given up: no other node is left in partition $SLURM_JOB_PARTITION"
elif ! refused=$(scontrol requeue "$name" 2>&1); then
    note "$why" "given up: SLURM refuses the requeue ($(echo "$refused" | tr -d '"\\' | tail -n 1))"
else
    # first our own place; then tasks that wait, which would try this node too (others are refused)
    scontrol update JobId="$name" ExcNodeList="$without"
    [ -n "$SLURM_ARRAY_JOB_ID" ] &&
        scontrol update JobId="$SLURM_ARRAY_JOB_ID" ExcNodeList="$without" >/dev/null 2>&1
    note "$why" "requeued without $without"
    sleep "$linger"  # until SLURM ends this start: returning first would count as finished
fi
exit "$status"
