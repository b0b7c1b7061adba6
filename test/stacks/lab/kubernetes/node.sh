#!/bin/bash
# The machine of a lab's cluster, from inside: first process of its own mount, network, host name and process namespaces.
# NODE (its name), DIR, ADDRESS, GATEWAY, CONTROL (address of the control plane, perhaps its own), ROUTES (range=address, of the pods of other
# nodes), TOOLS (directory of the components), DEBIAN (root of extracted packages) and SERVICES (address range) come from the environment.
# Every component logs to DIR/logs.
set -eu
cd "$DIR"
export PATH=$TOOLS:$DEBIAN/usr/bin:$DEBIAN/usr/sbin:$PATH
mount --make-rshared /
until ip link show eth0 > /dev/null 2>&1; do sleep .05; done
hostname "$NODE"
ip link set lo up
ip addr add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"
for route in $ROUTES; do ip route add "${route%=*}" via "${route#*=}"; done
echo 1 > /proc/sys/net/ipv4/ip_forward

# Control groups as a machine has them: this one's own are the root.
grep -E ' - cgroup2? ' /proc/self/mountinfo | while read -r _ _ _ _ at rest; do
  rest=${rest#* - }
  options=$(echo "${rest##* }" | tr , '\n' | grep -vE '^(rw|xattr|clone_children|release_agent=.*)$' | paste -sd , || true)
  umount "$at"
  mount -t "${rest%% *}" ${options:+-o "$options"} cgroup "$at"
done

# What the machine and its components write lies in the lab; the kernel settings that the kubelet insists on are files.
mkdir -p machine/log machine/cni machine/forkyard machine/proc
mount --bind machine/log /var/log
# Of its own as a whole: somebody's `destroy` on this machine may remove an empty /var/lib/forkyard, and with it what is mounted there.
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/cni /var/lib/forkyard
mount --bind machine/cni /var/lib/cni
mount --bind machine/forkyard /var/lib/forkyard
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
pretend() {
  echo "$2" > "machine/proc/$(basename "$1")"
  mount --bind "machine/proc/$(basename "$1")" "$1"
}
pretend /proc/sys/vm/overcommit_memory 1
pretend /proc/sys/kernel/panic 10
pretend /proc/sys/kernel/panic_on_oops 1

run() {
  name=$1
  shift
  setsid "$@" > "logs/$name.log" 2>&1 < /dev/null &
}
until_answers() { until "$@" > /dev/null 2>&1; do sleep .1; done; }

control_plane() {
  run etcd etcd --data-dir "$DIR/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  run apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$ADDRESS" --secure-port=6443 --cert-dir=certs \
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
    --service-cluster-ip-range="$SERVICES" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --kubelet-client-certificate=pki/apikubelet.crt --kubelet-client-key=pki/apikubelet.key --kubelet-certificate-authority=pki/ca.crt \
    --kubelet-preferred-address-types=InternalIP
  until_answers curl -sf --cacert pki/ca.crt --cert pki/admin.crt --key pki/admin.key "https://$ADDRESS:6443/readyz"
  run controllers kube-controller-manager --kubeconfig=controllers.kubeconfig --service-account-private-key-file=pki/sa.key \
    --root-ca-file=pki/ca.crt --use-service-account-credentials=true --leader-elect=false --cert-dir=certs/controllers
  run scheduler kube-scheduler --kubeconfig=scheduler.kubeconfig --leader-elect=false --cert-dir=certs/scheduler
  run dns coredns -conf Corefile
}

run containerd containerd -c containerd.toml
if [ "$ADDRESS" = "$CONTROL" ]; then control_plane; fi
until_answers ctr -a containerd.sock version
ctr -a containerd.sock -n k8s.io image import ../pause.tar > logs/pause.log 2>&1
run kubelet kubelet --config kubelet.yaml --root-dir "$DIR/kubelet" --cert-dir certs/kubelet --kubeconfig kubelet.kubeconfig \
  --hostname-override "$NODE" --node-ip "$ADDRESS"
run proxy kube-proxy --config proxy.yaml
trap : TERM
while :; do sleep 3600 & wait $! || true; done
