#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Starts a Slurm cluster of one node on this machine, runs a command in it, and stops it:
#
#   ci/slurm-cluster.sh ci/slurm.sh --suite smoke
#
# Needs root and Debian's slurm-wlm, which brings munge. All files are in a temporary directory, and the daemons listen on
# loopback only, so that an existing Slurm of this machine is not disturbed.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 COMMAND..." >&2; exit 2; }
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || { echo "$0: $program is missing; install slurm-wlm" >&2; exit 2; }
done

dir=$(mktemp --directory --suffix=-slurm)
chmod 755 "$dir"
pids=()
# Stops the daemons in reverse order.
stop() {
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null && wait "${pids[i]}" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap stop EXIT

host=$(hostname -s)
mkdir -m 755 "$dir/munge" "$dir/state" "$dir/spool"
dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 status=none
chmod 400 "$dir/munge/key"
munged --foreground --force --key-file "$dir/munge/key" --socket "$dir/munge/socket" \
    --pid-file "$dir/munge/pid" --seed-file "$dir/munge/seed" --log-file "$dir/munge/log" 2>/dev/null &
pids+=($!)

export SLURM_CONF=$dir/slurm.conf
cat >"$SLURM_CONF" <<END
ClusterName=lab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=lab Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
until [ -S "$dir/munge/socket" ]; do
    kill -0 "${pids[0]}" 2>/dev/null || { echo "$0: munged does not start:" >&2; cat "$dir/munge/log" >&2; exit 2; }
    sleep 0.1
done
slurmctld -D >/dev/null 2>&1 &
pids+=($!)
slurmd -D >/dev/null 2>&1 &
pids+=($!)

for ((tries = 0; ; tries++)); do
    [ "$(sinfo --noheader --format=%t 2>/dev/null)" != idle ] || break
    [ $tries -lt 60 ] || { echo "$0: the node does not come up:" >&2; tail -n 5 "$dir"/*.log >&2; exit 2; }
    sleep 0.5
done
"$@"
