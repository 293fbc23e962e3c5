# Read by the batch scripts: a Ray cluster on all nodes of the allocation, the recipe's driver on the
# first, and the job put back in the queue when its time ends before the recipe does.
#
#   ASTROMILL_JOB             what to run: run_recipe (default), build_corpus, train_models, ...
#   ASTROMILL_INTERFACE       network device whose addresses Ray takes; default: the first address
#   ASTROMILL_NODE_ADDRESS    that address itself; for machines where it is known
#   ASTROMILL_CPUS_PER_NODE   default: what Slurm gives
#   ASTROMILL_GPUS_PER_NODE   default: what Ray finds
#   ASTROMILL_SRUN_OPTIONS    more options of srun for Ray's nodes, such as --gpus-per-node=8
#   ASTROMILL_MOST_RESTARTS   allocations that may follow the first; default 100
#   ASTROMILL_START_SECONDS   to wait for all nodes; default 600
#   ASTROMILL_SAVE_SECONDS    the driver may take after the signal; default 480. Less than the
#                             seconds of --signal: what is killed by the limit is not requeued

# The address of this node. Run on every node: its text is sent along.
_address() {
    if [[ -n "${ASTROMILL_NODE_ADDRESS:-}" ]]; then
        echo "$ASTROMILL_NODE_ADDRESS"
    elif [[ -n "${ASTROMILL_INTERFACE:-}" ]]; then
        ip -o -4 addr show dev "$ASTROMILL_INTERFACE" | awk 'NR == 1 {split($4, a, "/"); print a[1]}'
    else
        hostname -I | awk '{print $1}'
    fi
}

# Slurm names AMD's devices to ROCr; Ray refuses that name and takes HIP's, for the same numbers.
_name_devices_to_hip() {
    if [[ -n "${ROCR_VISIBLE_DEVICES:-}" ]]; then
        export HIP_VISIBLE_DEVICES="${HIP_VISIBLE_DEVICES:-$ROCR_VISIBLE_DEVICES}"
        unset ROCR_VISIBLE_DEVICES
    fi
}

# Starts Ray on this node and stays. $1: "head", or the head's address.
_node() {
    local address try
    address="$(_address)"
    _name_devices_to_hip
    local options=(--block --disable-usage-stats --log-color=false "--node-ip-address=$address")
    options+=("--num-cpus=${ASTROMILL_CPUS_PER_NODE:-$SLURM_CPUS_ON_NODE}")
    [[ -n "${ASTROMILL_GPUS_PER_NODE:-}" ]] && options+=("--num-gpus=$ASTROMILL_GPUS_PER_NODE")
    if [[ "$1" == head ]]; then
        options+=(--head "--port=$_PORT" --include-dashboard=false "--temp-dir=$_TEMPORARY")
    else
        options+=("--address=$1")
    fi
    # Ray gives a node 30 s to come up, which a busy one may not make.
    for try in 1 2 3; do
        python -m ray_jobs.start_node "${options[@]}" && return 0
        echo "try $try: Ray ended on $(hostname)"
    done
    return 1
}

# $1: how many nodes; the rest: which, and what to run there.
_start_nodes() {
    local more=() count="$1"
    shift
    read -ra more <<<"${ASTROMILL_SRUN_OPTIONS:-}"
    # A node that fails must not take the others along; Ray's processes are not to be bound to one
    # core.
    _srun "$count" --cpu-bind=none --kill-on-bad-exit=0 --wait=0 "${more[@]+"${more[@]}"}" "$@" &
    _CLUSTER+=($!)
}

# One task on each of so many nodes. --overlap: the driver is on the head node, too.
_srun() {
    local count="$1"
    shift
    exec srun --overlap --export=ALL "--nodes=$count" "--ntasks=$count" --ntasks-per-node=1 "$@"
}

# Brings the cluster up; sets RAY_ADDRESS.
_start_cluster() {
    # Jobs that share a node must not share a port; the system itself gives out those from 32768.
    export _PORT=$((20000 + SLURM_JOB_ID % 12000))
    # Ray's sockets live below it, and a socket's path has at most 107 characters.
    export _TEMPORARY="/tmp/ray-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
    # Whoever reaches the port could run code: the nodes share a secret that nobody else knows.
    export RAY_AUTH_MODE=token
    RAY_AUTH_TOKEN="$(python -c 'import secrets; print(secrets.token_hex(32))')"
    export RAY_AUTH_TOKEN
    export -f _address _name_devices_to_hip _node
    RAY_ADDRESS="$(_address):$_PORT"
    export RAY_ADDRESS
    # Several nodes on one machine, on trial: see core/session.py.
    [[ "$RAY_ADDRESS" == 127.0.0.1:* ]] && export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0

    local first nodes="$SLURM_JOB_NUM_NODES"
    first="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"
    first="${first%%$'\n'*}"
    echo "cluster of $nodes nodes, head $first at $RAY_ADDRESS"
    _start_nodes 1 "--nodelist=$first" bash -c '_node head'
    if ((nodes > 1)); then
        # These wait for the head by themselves.
        _start_nodes $((nodes - 1)) "--exclude=$first" bash -c '_node "$RAY_ADDRESS"'
    fi
    _wait_for_nodes "$nodes"
}

_wait_for_nodes() {
    local waiter node
    python -m ray_jobs.wait_for_nodes "$1" --seconds "${ASTROMILL_START_SECONDS:-600}" &
    waiter=$!
    while kill -0 "$waiter" 2>/dev/null; do
        for node in "${_CLUSTER[@]}"; do
            if ! kill -0 "$node" 2>/dev/null; then
                kill "$waiter" 2>/dev/null || true
                echo "Ray did not start on its nodes; the lines above say why"
                return 1
            fi
        done
        sleep 0.5
    done
    wait "$waiter"
}

_stop_cluster() {
    ((${#_CLUSTER[@]})) || return 0
    # Srun kills its step; the driver has ended, so nobody waits for Ray's own slow way out.
    kill "${_CLUSTER[@]}" 2>/dev/null || true
    wait "${_CLUSTER[@]}" 2>/dev/null || true
    _CLUSTER=()
    (_srun "$SLURM_JOB_NUM_NODES" rm -rf "$_TEMPORARY") || true
}

_time_is_over() {
    _ENDED=1
    echo "the time is nearly over: saving"
    [[ -z "$_DRIVER" ]] || kill -USR1 "$_DRIVER" 2>/dev/null || true
}

# Waits for the driver; after the signal, no longer than it may take. Returns its exit code.
_wait_for_driver() {
    local code=0 last
    wait "$_DRIVER" || code=$?
    ((_ENDED)) || return "$code"
    # The signal has ended the wait, not the driver.
    last=$((SECONDS + ${ASTROMILL_SAVE_SECONDS:-480}))
    while kill -0 "$_DRIVER" 2>/dev/null && ((SECONDS < last)); do
        sleep 0.5
    done
    kill -KILL "$_DRIVER" 2>/dev/null && echo "the driver took too long to save"
    wait "$_DRIVER"
}

# Runs the recipe; puts the job back in the queue where the time ended first.
run_until_done() {
    local code=0
    _CLUSTER=() _DRIVER="" _ENDED=0
    trap _stop_cluster EXIT
    # Slurm tells the batch script alone; training saves its state, and the driver ends with 0.
    trap _time_is_over USR1
    _name_devices_to_hip
    _start_cluster
    if ((_ENDED)); then
        echo "the time was over before the cluster was up: submit with a longer --time"
        return 1
    fi
    python -m "ray_jobs.${ASTROMILL_JOB:-run_recipe}" "$@" &
    _DRIVER=$!
    _wait_for_driver || code=$?
    if ((_ENDED == 0)); then
        return "$code"
    fi
    if ((code != 0)); then
        echo "the driver ended with $code after the signal; what it finished is kept"
    fi
    if ((${SLURM_RESTART_COUNT:-0} >= ${ASTROMILL_MOST_RESTARTS:-100})); then
        echo "not done after ${SLURM_RESTART_COUNT:-0} restarts; submit again to go on"
        return 1
    fi
    _stop_cluster
    echo "back in the queue"
    scontrol requeue "$SLURM_JOB_ID"
    # Slurm ends this script now.
    sleep 60
}
