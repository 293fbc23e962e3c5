# Read by the batch scripts: a Ray cluster on all nodes of the allocation, the recipe's driver on the
# first, and the job put back in the queue when its time ends before the recipe does.
#
#   ASTROMILL_INTERFACE       network device whose addresses Ray takes; default: the first address
#   ASTROMILL_NODE_ADDRESS    that address itself; for machines where it is known
#   ASTROMILL_CPUS_PER_NODE   default: what Slurm gives
#   ASTROMILL_GPUS_PER_NODE   default: what Ray finds
#   ASTROMILL_MOST_RESTARTS   allocations that may follow the first; default 100
#   ASTROMILL_START_SECONDS   to wait for all nodes; default 600

_ray() { python -m ray.scripts.scripts "$@"; }

# The address of this node. Run on every node: its text is sent along.
_address() {
    if [[ -n "${ASTROMILL_NODE_ADDRESS:-}" ]]; then
        echo "$ASTROMILL_NODE_ADDRESS"
    elif [[ -n "${ASTROMILL_INTERFACE:-}" ]]; then
        ip -o -4 addr show dev "$ASTROMILL_INTERFACE" | awk '{split($4, a, "/"); print a[1]; exit}'
    else
        hostname -I | awk '{print $1}'
    fi
}

# Starts Ray on this node and stays. $1: "head", or the head's address.
_node() {
    local address
    address="$(_address)"
    local options=(--block --disable-usage-stats "--node-ip-address=$address")
    options+=("--num-cpus=${ASTROMILL_CPUS_PER_NODE:-$SLURM_CPUS_ON_NODE}")
    [[ -n "${ASTROMILL_GPUS_PER_NODE:-}" ]] && options+=("--num-gpus=$ASTROMILL_GPUS_PER_NODE")
    if [[ "$1" == head ]]; then
        exec python -m ray.scripts.scripts start --head "--port=$_PORT" --include-dashboard=false \
            "--temp-dir=$_TEMPORARY" "${options[@]}"
    fi
    exec python -m ray.scripts.scripts start "--address=$1" "${options[@]}"
}

# Brings the cluster up; sets RAY_ADDRESS.
_start_cluster() {
    # Jobs that share a node must not share a port.
    export _PORT=$((20000 + SLURM_JOB_ID % 20000))
    # Ray's sockets live below it, and a socket's path has at most 107 characters.
    export _TEMPORARY="/tmp/ray-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
    # Whoever reaches the port could run code: the nodes share a secret that nobody else knows.
    export RAY_AUTH_MODE=token
    RAY_AUTH_TOKEN="$(python -c 'import secrets; print(secrets.token_hex(32))')"
    export RAY_AUTH_TOKEN
    export -f _address _node
    RAY_ADDRESS="$(_address):$_PORT"
    export RAY_ADDRESS

    local first nodes
    first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
    nodes="$SLURM_JOB_NUM_NODES"
    echo "cluster of $nodes nodes, head $first at $RAY_ADDRESS"
    # --overlap: the driver, later, is on the head node, too.
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$first" bash -c '_node head' &
    _CLUSTER=($!)
    _wait_for_nodes 1
    if ((nodes > 1)); then
        srun --overlap --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --ntasks-per-node=1 \
            --exclude="$first" bash -c '_node "$RAY_ADDRESS"' &
        _CLUSTER+=($!)
        _wait_for_nodes "$nodes"
    fi
}

_wait_for_nodes() {
    python -m ray_jobs.wait_for_nodes "$1" --seconds "${ASTROMILL_START_SECONDS:-600}"
}

_stop_cluster() {
    kill "${_CLUSTER[@]}" 2>/dev/null || true
    wait "${_CLUSTER[@]}" 2>/dev/null || true
}

# Runs the recipe; puts the job back in the queue where the time ended first.
run_until_done() {
    local ended=0 driver code
    _CLUSTER=()
    trap _stop_cluster EXIT
    _start_cluster
    python -m ray_jobs.run_recipe "$@" &
    driver=$!
    # Slurm tells the batch script alone; training saves its state, and the driver ends with 0.
    trap 'ended=1; echo "the time is nearly over: saving"; kill -USR1 "$driver"' USR1
    while true; do
        code=0
        wait "$driver" || code=$?
        # A signal interrupts the wait; the driver itself is still there.
        kill -0 "$driver" 2>/dev/null || break
    done
    if ((ended == 0)); then
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
