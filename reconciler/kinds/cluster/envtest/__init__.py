"""A control plane without Docker: etcd, kube-apiserver and, if it is there, kube-controller-manager, as processes.

control_plane  bringing one up, stopping and deleting it      processes   its processes: found, started, ended
components     what each program is started with              launch      a process becoming one of them
binaries       where the programs are, what is missing        probes      whether one is ready
recorded       cluster.json: ports, programs, tokens          certificates, ports

Nothing runs above the processes: they outlive whoever started them, looking finds one dead, and a step starts it again.
Used by `providers.envtest` alone.
"""
