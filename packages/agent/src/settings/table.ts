import { defaultNat, type FlowTimeouts, longestTimeout } from '@heddle/datapath/flow-options';
import { defaultPolicySizes } from '@heddle/datapath/policy-sizes';
import { formatPortRange } from '../snat-ports.ts';
import {
  checkListenAddress,
  checkNameServer,
  checkNodePortEntry,
  checkPortRange,
  checkRange,
  listenRemedy,
  nameServerRemedy,
  portRangeRemedy,
  rangeRemedy,
} from './checks.ts';
import { choice, count, group, list, text, type ValuesOf, yesNo } from './setting.ts';

// The one table of settings. Flags of `heddle agent`, the fields of its configuration file, the
// values of the Helm chart with their schema, the settings of `heddle manifests` and
// docs/settings.md are made from it.

/** The default folder of the pins. */
export const defaultBpffs = '/sys/fs/bpf';
/** The control socket by default. */
export const defaultSocket = '/run/heddle/agent.sock';
/** The kernel's directory of network settings. */
export const defaultSysctls = '/proc/sys/net';
/** The default ports of health and metrics in a cluster are kube-proxy's. */
export const defaultHealthAddress = ':10256';
export const defaultMetricsAddress = '127.0.0.1:10249';

/** The kernel counts the entries of a map in a u32. */
const largestMap = 0xffffffff;
/** The class of a port has 16 bits. */
const largestPortClasses = 0xffff;
/** The path of a unix socket has 108 bytes with its NUL. */
const longestSocketPath = 107;

const anyPath = '^[^\\0]+$';
const absolutePath = '^/[^\\0]*$';
const rangePattern = '^[0-9a-fA-F.:]+/[0-9]{1,3}$';
const interfaceNames = '^[^\\s,/]+(\\s*,\\s*[^\\s,/]+)*$';
const listenPattern = '^(off|([0-9.]*|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5})$';

const timeout = (name: keyof FlowTimeouts, about: string, more?: string) =>
  count(longestTimeout, {
    unit: 'seconds',
    about: `seconds without a packet until ${about}`,
    ...(more === undefined ? {} : { more }),
    fallback: defaultNat.timeouts[name],
  });

export const settings = {
  manifests: text({
    about: 'folder of manifests (YAML or JSON) that the agent reads and watches',
    fallbackText: 'none; objects come from the API server',
    pattern: anyPath,
    remedy: 'give the folder with the manifests, e.g. --manifests examples/hello',
    flag: '--manifests <dir>',
    inChart: false,
  }),
  kubeconfig: text({
    about: 'kubeconfig with the access to the API server',
    fallbackText: 'that of the pod it runs in, else $KUBECONFIG, else ~/.kube/config',
    pattern: anyPath,
    remedy: 'write the path of a kubeconfig',
    flag: '--kubeconfig <file>',
    inChart: false,
  }),
  context: text({
    about: 'context of the kubeconfig',
    fallbackText: 'its current context',
    pattern: anyPath,
    remedy: 'write the name of a context',
    flag: '--context <name>',
    inChart: false,
  }),
  apiServers: list({
    about: 'URLs of API servers, tried first and in turn',
    more: 'Where Heddle replaces kube-proxy it needs one that works without a service proxy.',
    pattern: '^https?://[^\\s/]+(/[^\\s]*)?$',
    remedy: 'write a list of URLs such as https://192.0.2.1:6443',
    itemRemedy: 'write a URL such as https://192.0.2.1:6443',
    flag: '--api-server <urls>',
  }),
  node: text({
    about: 'name of the Node object of this node',
    fallbackText: 'the host name in lower case',
    pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$',
    maxLength: 253,
    remedy: 'write the name of this node’s Node object (lower-case letters, digits, - and .)',
    flag: '--node <name>',
    inChart: false,
  }),
  healthAddress: text({
    about: 'address and port of /healthz, /livez and /readyz, or off',
    fallbackText: `${defaultHealthAddress}; off with a folder of manifests`,
    pattern: listenPattern,
    check: checkListenAddress,
    remedy: listenRemedy,
    flag: '--health-address <address>',
    inChart: false,
  }),
  metricsAddress: text({
    about: 'address and port of /metrics, or off',
    more: 'With :10249 the metrics can be read from other nodes.',
    fallbackText: `${defaultMetricsAddress}; off with a folder of manifests`,
    chartFallback: defaultMetricsAddress,
    pattern: listenPattern,
    check: checkListenAddress,
    remedy: listenRemedy,
    flag: '--metrics-address <address>',
  }),
  cgroup: text({
    about: 'cgroup v2 directory whose processes get service addresses translated',
    fallbackText: 'the root of the cgroup2 mount',
    pattern: absolutePath,
    remedy: 'write the absolute path of a cgroup v2 directory',
    flag: '--cgroup <path>',
    inChart: false,
  }),
  bpffs: text({
    about: 'directory for pinned maps and links',
    more: 'A BPF file system is mounted there unless it lies on one.',
    fallback: defaultBpffs,
    pattern: absolutePath,
    remedy: 'write an absolute path',
    flag: '--bpffs <dir>',
    inChart: false,
  }),
  socket: text({
    about: 'path of the control socket, which the other commands use',
    fallback: defaultSocket,
    pattern: absolutePath,
    maxLength: longestSocketPath,
    remedy: `write an absolute path of at most ${longestSocketPath} bytes, the limit for unix sockets`,
    flag: '--socket <path>',
    inChart: false,
  }),
  logLevel: choice(['debug', 'info', 'warn', 'error'], {
    about: 'least severe level that is logged',
    fallback: 'info',
    flag: '--log-level <level>',
  }),
  devices: text({
    about: 'external network interfaces: auto, none, or names such as eth0,bond*',
    more: 'North-south traffic to NodePorts, load balancers and external IPs enters the node there. With auto, these are the interfaces with a default route; with none, another proxy serves this traffic.',
    fallback: 'auto',
    pattern: interfaceNames,
    maxLength: 1000,
    remedy:
      'write auto, none, or names of network interfaces with commas between (* stands for anything)',
    flag: '--devices <names>',
  }),
  xdp: choice(['off', 'generic', 'native', 'best-effort'], {
    about: 'mode of XDP on the external interfaces',
    more: 'XDP translates packets that enter and leave by the same interface. With native, it runs in the driver; with best-effort, where the driver supports it; with generic, without the driver, to try it out.',
    fallback: 'off',
    flag: '--xdp <mode>',
  }),
  podDevices: text({
    about: 'pod interfaces that are translated per packet: none, or names such as veth*,cni0',
    more: 'Pods whose processes are not in the cgroup need it, e.g. those in virtual machines.',
    fallback: 'none',
    pattern: interfaceNames,
    maxLength: 1000,
    check: (names) => (names === 'auto' ? podDevicesRemedy() : undefined),
    remedy: podDevicesRemedy(),
    flag: '--pod-devices <names>',
  }),
  socketLB: choice(['all', 'hostNamespaceOnly'], {
    about: 'sockets that are connected to a backend instead of a service',
    more: 'With hostNamespaceOnly, sockets of pods keep the service’s address, which sidecars of service meshes read, and their packets are translated at the pod interfaces: with network: true, or with podDevices. Sockets that are connected already stay as they are.',
    fallback: 'all',
    flag: '--socket-lb <which>',
  }),
  forwarding: choice(['snat', 'dsr', 'hybrid'], {
    about: 'how external traffic reaches backends on other nodes',
    more: 'With snat, packets come from an address of this node, and the replies return through it. With dsr, they are unchanged in an IP-in-IP tunnel, and the node of the backend replies to the client itself. hybrid is dsr for TCP and snat for the rest. The annotation heddle.io/forwarding sets it for one service.',
    fallback: 'snat',
    flag: '--forwarding <how>',
  }),
  snatPorts: text({
    about: 'SNAT ports of the node',
    more: 'Each backend on another node has at most so many external connections at a time. NodePorts and the ports that the node’s own sockets choose (net.ipv4.ip_local_port_range) must lie elsewhere.',
    fallback: formatPortRange(defaultNat.ports),
    pattern: '^[0-9]{4,5}-[0-9]{4,5}$',
    check: checkPortRange,
    remedy: portRangeRemedy,
  }),
  nodePortAddresses: list({
    about: 'node addresses that serve NodePorts and hostPorts: ranges, or names of interfaces',
    more: 'E.g. 192.0.2.0/24 or bond*. Loopback addresses always serve them.',
    fallbackText: 'the addresses of the Node object, else all of the external interfaces',
    pattern: '^([0-9a-fA-F.:]+/[0-9]{1,3}|[^\\s,/:]{1,15})$',
    check: checkNodePortEntry,
    remedy: 'write a list such as [192.0.2.0/24, eth0]',
    flag: '--nodeport-addresses <list>',
  }),
  sourceRanges: choice(['everywhere', 'external'], {
    about: 'clients that loadBalancerSourceRanges restrict',
    more: 'With everywhere, these are all clients, pods and processes of the nodes by their addresses; with external, only clients outside the cluster.',
    fallback: 'everywhere',
    flag: '--source-ranges <where>',
  }),
  externalIPs: choice(['serve', 'protect'], {
    about: 'whether an externalIP may be an address of a node',
    more: 'With serve it may, as with kube-proxy; with protect it is refused, because anyone who may write a Service may write any externalIP. The address of the API server, a ClusterIP and the address of a pod are always refused.',
    fallback: 'serve',
    flag: '--external-ips <mode>',
  }),
  network: yesNo({
    about: 'give pods their interfaces, addresses and routes: Heddle is the network of the cluster',
    more: 'Without it, Heddle serves services only, beside another CNI plug-in.',
    flag: '--network',
  }),
  sysctls: text({
    about: 'directory through which network settings are written, with `network`',
    more: 'In a container /proc/sys is read-only, and this is a mount of /proc/sys/net of the node.',
    fallback: defaultSysctls,
    pattern: absolutePath,
    remedy: 'write an absolute path',
    flag: '--sysctls <dir>',
    inChart: false,
  }),
  podCIDRs: list({
    about: 'ranges of the addresses of this node’s pods, at most one of each family',
    fallbackText: 'spec.podCIDRs of the Node object',
    pattern: rangePattern,
    check: checkRange,
    remedy: rangeRemedy,
    flag: '--pod-cidrs <ranges>',
    inChart: false,
  }),
  routing: choice(['auto', 'native', 'tunnel'], {
    about: 'how packets reach pods of other nodes',
    more: 'With auto, directly where the other node is on the same link, and through a VXLAN tunnel elsewhere; with native, always by the routes of the network between the nodes; with tunnel, always through the tunnel.',
    fallback: 'auto',
    flag: '--routing <how>',
  }),
  tunnelPort: count(65_535, {
    about: 'UDP port of the VXLAN tunnels between nodes',
    more: 'It is the same on all nodes. Some network cards mishandle the standard port 4789.',
    fallback: 8472,
  }),
  podInterface: choice(['veth', 'netkit'], {
    about: 'kind of the interfaces of pods',
    more: 'netkit needs Linux 6.8 with CONFIG_NETKIT; connecting a pod then takes some 30 ms longer, while the kernel attaches its programs. Existing pods keep theirs.',
    fallback: 'veth',
    flag: '--pod-interface <kind>',
  }),
  podMTU: count(65_535, {
    unit: 'bytes',
    about: 'MTU of the interfaces of pods',
    fallbackText: 'that of the external interfaces, less the overhead of the tunnel',
  }),
  masquerade: choice(['ipv4', 'both', 'none'], {
    about: 'families in which the world sees an address of the node instead of the pod’s',
    fallback: 'ipv4',
    flag: '--masquerade <families>',
  }),
  nonMasqueradeCIDRs: list({
    about: 'ranges of destinations that see the addresses of pods',
    more: 'Pods and nodes of the cluster always do, nodes behind a tunnel excepted. Hosts that open connections to the addresses of pods belong into these ranges.',
    pattern: rangePattern,
    check: checkRange,
    remedy: rangeRemedy,
  }),
  podCongestionControl: text({
    about: 'congestion control of the TCP connections of pods, e.g. bbr',
    more: 'The annotation heddle.io/congestion-control sets it for one pod. The node needs its module (modprobe tcp_bbr). It applies to pods that start from then on.',
    fallbackText: 'that of the node',
    pattern: '^[a-z0-9_]{1,15}$',
    remedy: 'write the name of a congestion control, such as bbr',
  }),
  localCongestionControl: choice(['cubic', 'off'], {
    about:
      'congestion control of TCP connections to pods of the same node, where the default is BBR',
    more: 'BBR paces what it sends, which slows transfers within a node down. Applications that choose one keep it; with off, all keep theirs.',
    fallback: 'cubic',
  }),
  networkPolicy: yesNo(
    {
      about: 'enforce NetworkPolicies and ClusterNetworkPolicies, with `network`',
      more: 'A pod starts once its policies are programmed. Without it, all pods may talk to all.',
    },
    true,
  ),
  policyOpenConnections: choice(['judge', 'keep'], {
    about: 'whether policies that change apply to open connections, too',
    more: 'With judge, a connection that the present policies deny ends at its next packet; with keep, it goes on.',
    fallback: 'judge',
  }),
  policyDenyResponse: choice(['none', 'icmp', 'reset'], {
    about: 'what the sender of a packet that a policy denies receives',
    more: 'The annotation heddle.io/policy-deny-response of a policy goes before it. With none, nothing, as other networks do; with icmp, an ICMP error (administratively prohibited); with reset, a TCP reset, and an ICMP error for other protocols.',
    fallback: 'none',
  }),
  dnsServers: list({
    about: 'name servers whose answers count for rules that name hosts',
    more: 'Addresses, and services as NAMESPACE/NAME, whose endpoints count.',
    fallbackText: 'kube-system/kube-dns',
    pattern: '^[0-9a-zA-Z.:-]+(/[a-z0-9.-]+)?$',
    check: checkNameServer,
    remedy: nameServerRemedy,
  }),
  visibility: yesNo({
    about: 'flows of all connections of pods, with the names of both ends',
    more: 'With `network`, each connection of a pod takes one of sizes.flows, and goes on unobserved when there is no room. The agent watches all pods, some 450 bytes of memory each. Without it, flows show connections that are translated at interfaces and those of pods with policies, with the names of this node’s pods, and of others that policies need.',
    flag: '--visibility',
  }),
  cni: group('The CNI plug-in, with `network`.', {
    binDir: text({
      about: 'directory in which the container runtime looks for plug-ins',
      fallback: '/opt/cni/bin',
      pattern: absolutePath,
      remedy: 'write an absolute path',
    }),
    configDir: text({
      about: 'directory in which the container runtime looks for network configurations',
      fallback: '/etc/cni/net.d',
      pattern: absolutePath,
      remedy: 'write an absolute path',
    }),
    socket: text({
      about: 'path of the socket on which the agent answers the plug-in',
      fallback: '/run/heddle/cni.sock',
      pattern: absolutePath,
      maxLength: longestSocketPath,
      remedy: `write an absolute path of at most ${longestSocketPath} bytes, the limit for unix sockets`,
      inChart: false,
    }),
  }),
  sizes: group('Entries of the kernel maps; docs/deployment.md lists what a cluster needs.', {
    services: count(largestMap, {
      about: 'entries for service addresses at the start; each frontend takes one',
      fallback: 65_536,
      flag: '--max-services <n>',
    }),
    servicesMax: count(largestMap, {
      about: 'entries for service addresses that the map grows to',
      more: 'One service may take a quarter of them, one namespace a half; older services come first.',
      fallback: 262_144,
    }),
    backends: count(largestMap, {
      about: 'entries for backends; each address and port of a service takes one',
      fallback: 131_072,
      flag: '--max-backends <n>',
    }),
    slots: count(largestMap, {
      about: 'slots in the backend lists of all services, with room for lists being replaced',
      fallback: 262_144,
      flag: '--max-slots <n>',
    }),
    affinity: count(largestMap, {
      about: 'clients that session affinity remembers',
      more: 'The least recently used client goes first.',
      fallback: 65_536,
      flag: '--max-affinity <n>',
    }),
    flows: count(largestMap, {
      about: 'external connections that this node translates at a time',
      more: '136 bytes each, with visibility 200.',
      fallback: 65_536,
      flag: '--max-flows <n>',
    }),
    policySubjects: count(largestMap, {
      about: 'different sets of policies that select pods of this node, in one direction',
      more: '544 bytes each.',
      fallback: defaultPolicySizes.policySubjects,
    }),
    policyPeers: count(largestMap, {
      about: 'addresses that policies of this node’s pods name as peers',
      more: 'Some 90 bytes each, taken as the map fills.',
      fallback: defaultPolicySizes.policyPeers,
    }),
    policyRanges: count(largestMap, {
      about: 'ranges of addresses that policies of this node’s pods name as peers',
      more: 'Some 120 bytes each, taken as the map fills.',
      fallback: defaultPolicySizes.policyRanges,
    }),
    policyPeerClasses: count(largestMap, {
      about: 'classes of peers: addresses that are peers of the same rules',
      more: '520 bytes each.',
      fallback: defaultPolicySizes.policyPeerClasses,
    }),
    policyPortClasses: count(largestPortClasses, {
      about: 'classes of ports: ports that the same rules name',
      more: '520 bytes each.',
      fallback: defaultPolicySizes.policyPortClasses,
    }),
    policyNames: count(largestPortClasses, {
      about: 'names of hosts that policies of this node’s pods have',
      more: 'Some 330 bytes each.',
      fallback: defaultPolicySizes.policyNames,
    }),
    policyGrants: count(largestMap, {
      about: 'addresses of these names',
      more: 'Some 120 bytes each. The least recently used address goes first.',
      fallback: defaultPolicySizes.policyGrants,
    }),
  }),
  timeouts: group('Seconds until the node forgets an external connection.', {
    tcpHandshake: timeout(
      'tcpHandshake',
      'a TCP connection without a finished handshake is forgotten',
    ),
    tcpEstablished: timeout(
      'tcpEstablished',
      'an established TCP connection is forgotten',
      'RFC 5382 asks for 7440 or more.',
    ),
    tcpHalfClosed: timeout(
      'tcpHalfClosed',
      'a TCP connection that one side has closed is forgotten',
    ),
    tcpClosed: timeout(
      'tcpClosed',
      'a TCP connection that both sides have closed is forgotten',
      'Meanwhile the backend keeps its port (TIME-WAIT) or waits for the last acknowledgement.',
    ),
    tcpReset: timeout(
      'tcpReset',
      'a TCP connection is forgotten after a reset, or after the backend has forgotten it',
    ),
    udpUnanswered: timeout(
      'udpUnanswered',
      'a UDP flow without a reply is forgotten',
      'RFC 4787 asks for 120 or more.',
    ),
    udp: timeout('udp', 'a UDP flow with replies is forgotten', 'RFC 4787 recommends 300.'),
    sctpHandshake: timeout('sctpHandshake', 'an SCTP association without a reply is forgotten'),
    sctp: timeout('sctp', 'an SCTP association with replies is forgotten'),
    icmp: timeout('icmp', 'the identifier of a pod’s echo requests is forgotten'),
  }),
  options: group('Behaviour that is a matter of choice.', {
    terminateTcp: yesNo({
      about: 'close TCP connections to a backend that is gone',
      more: 'UDP sockets of such a backend are always closed.',
      flag: '--terminate-tcp',
    }),
  }),
};

function podDevicesRemedy(): string {
  return 'write none, or names of network interfaces with commas between (* stands for anything)';
}

/** The values of all settings. */
export type Config = ValuesOf<typeof settings>;

/** Entries that the kernel maps are made for. */
export type MapSizes = Config['sizes'];
