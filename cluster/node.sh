# Sourced by every command of cluster/*.yaml on a node: what an ssh shell that is nobody's lacks. No secrets.
#   . node.sh            before anything of Ray or Python
#   . node.sh ADDRESS    on a node that trains; ADDRESS: the head's, on the head its own. Sets NODE_IP.
export PATH="$HOME/stargan-ray/.venv/bin:$PATH"
# Said outright on every node: what Ray does without it depends on whether a token lies in the home folder.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
# The launcher sets one thread and hides warnings in every shell; our workers choose for themselves.
unset OMP_NUM_THREADS PYTHONWARNINGS
ulimit -n "$(ulimit -Hn)"

if [ -n "${1:-}" ]; then
    # The address by which this node is seen from the head, not the one that its name resolves to (often 127.0.1.1).
    NODE_IP=$(ip -4 route get "$1" | sed -n 's/.* src \([0-9.]*\).*/\1/p' | head -n 1)
    # gloo would take the interface of that name too, and NCCL any that is up, a Docker bridge for one.
    GLOO_SOCKET_IFNAME=$(ip -o -4 addr show | awk -v address="$NODE_IP" '$4 ~ "^" address "/" {print $2; exit}')
    NCCL_SOCKET_IFNAME=$GLOO_SOCKET_IFNAME
    if [ -z "$NODE_IP" ] || [ -z "$GLOO_SOCKET_IFNAME" ]; then
        echo "node.sh: no route to $1 from here: correct the address in the cluster's YAML" >&2
        return 1
    fi
    export NODE_IP GLOO_SOCKET_IFNAME NCCL_SOCKET_IFNAME
fi
