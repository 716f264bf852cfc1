import { listLinks, listRoutes, NetlinkSocket, type NetworkEvent } from '@heddle/netlink';
import { bigTcpSize } from '@heddle/podnet';
import type { Platform } from '@heddle/sys';
import { onNetworkChange } from '../../node/network-news.ts';
import { concernsNodeDevices, findNodeDevices } from '../../node/node-devices.ts';
import type { EffectiveConfig } from '../../status.ts';
import type { PacketSizes } from './pod-network.ts';

/** The headers that a VXLAN tunnel adds: IP, UDP, VXLAN and the inner Ethernet header. */
const tunnelOverhead = { v4: 50, v6: 70 } as const;
/** The MTU of a node without external interfaces. */
const usualMtu = 1500;
/** A tunnel accepts no larger packets before segmentation. */
const tunnelDevice = 'vxlan';

type Settings = Pick<EffectiveConfig, 'devices' | 'podMTU' | 'routing'>;

/** Facts about the links by which packets of pods leave the node. */
interface External {
  readonly mtus: readonly number[];
  readonly segmentSize: number | undefined;
}

/**
 * Follows the sizes of packets for pod interfaces: the MTU of the external interfaces less the tunnel's overhead, and
 * the largest packet before segmentation that they accept.
 */
export class PacketSizesWatch implements Disposable {
  readonly #platform: Platform;
  readonly #settings: Settings;
  readonly #watch: Disposable;
  readonly #changed: () => void;
  #external: External;
  #isV6Underlay = false;

  /** `changed` is called when the sizes differ from those before. Throws SysError, NetlinkError. */
  constructor(platform: Platform, settings: Settings, changed: () => void) {
    this.#platform = platform;
    this.#settings = settings;
    this.#changed = changed;
    this.#external = this.#look();
    const wanted = { devices: settings.devices, podDevices: 'none' };
    let devices = findNodeDevices(platform, wanted).devices;
    this.#watch = onNetworkChange(
      platform,
      ['links', 'routes', 'addresses'],
      (event: NetworkEvent) =>
        concernsNodeDevices(event, wanted, devices) ||
        (event.kind === 'link' && event.link.kind === tunnelDevice) ||
        (event.kind === 'route' && event.route.encap !== undefined),
      () => {
        devices = findNodeDevices(platform, wanted).devices;
        this.#update(() => {
          this.#external = this.#look();
        });
      },
    );
  }

  get sizes(): PacketSizes {
    const { mtus, segmentSize } = this.#external;
    const { podMTU, routing } = this.#settings;
    const overhead = routing === 'native' ? 0 : tunnelOverhead[this.#isV6Underlay ? 'v6' : 'v4'];
    const external = mtus.length === 0 ? usualMtu : Math.min(...mtus);
    return { mtu: podMTU ?? external - overhead, segmentSize };
  }

  /** Sets the addresses by which the nodes reach each other, the preferred one first. */
  setNodeAddresses([first]: readonly string[]): void {
    this.#update(() => {
      this.#isV6Underlay = first?.includes(':') ?? false;
    });
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }

  #update(change: () => void): void {
    const before = this.sizes.mtu;
    change();
    if (this.sizes.mtu !== before) this.#changed();
  }

  #look(): External {
    const { devices } = findNodeDevices(this.#platform, {
      devices: this.#settings.devices,
      podDevices: 'none',
    });
    const external = new Set(devices.map(({ index }) => index));
    using socket = new NetlinkSocket(this.#platform);
    const links = listLinks(socket);
    const used = links.filter(({ index }) => external.has(index));
    // A tunnel that leads to no node limits nothing.
    const tunnelled = new Set(listRoutes(socket).flatMap(({ encap, link }) => (encap ? link : [])));
    const tunnels = links.filter(
      ({ kind, index }) => kind === tunnelDevice && tunnelled.has(index),
    );
    return {
      mtus: used.map(({ mtu }) => mtu),
      segmentSize: bigTcpSize([...used, ...tunnels]),
    };
  }
}
