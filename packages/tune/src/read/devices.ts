import { listLinks, NetlinkSocket, type NetworkLink } from '@heddle/netlink';
import { type Platform, readDirectory } from '@heddle/sys';
import type { DeviceFacts, Interrupt, Known } from '../facts.ts';
import { Ethtool } from './ethtool.ts';
import { isSysError, known, readNumberList, readText, readTextIfAny } from './files.ts';
import { readQdisc } from './qdisc.ts';

/** The VXLAN interface of Heddle. */
const tunnelDevice = 'heddle0';

/**
 * Returns the facts of the external interfaces and of the tunnel, in the network namespace of the
 * thread. Throws SysError, NetlinkError.
 */
export function readDevices(platform: Platform, external: readonly string[]): DeviceFacts[] {
  using socket = new NetlinkSocket(platform);
  using ethtool = new Ethtool(platform);
  const isExternal = new Set(external);
  return listLinks(socket)
    .filter(({ name, kind }) => isExternal.has(name) || (name === tunnelDevice && kind === 'vxlan'))
    .map((link): DeviceFacts => {
      const { name, mtu } = link;
      return {
        ...{ name, mtu },
        role: isExternal.has(name) ? 'external' : 'tunnel',
        qdisc: known(() => readQdisc(socket, name)),
        features: known(() => ethtool.features(name)),
        rings: known(() => ethtool.rings(name)),
        channels: known(() => ethtool.channels(name)),
        interrupts: readInterrupts(platform, link),
        fifoErrors: known(() => readFifoErrors(platform, name)),
      };
    });
}

/** Returns the number of received packets that found the ring full (/proc/net/dev). */
function readFifoErrors(platform: Platform, device: string): number {
  const text = readText(platform, '/proc/thread-self/net/dev');
  for (const line of text.split('\n')) {
    const [name, counts] = line.split(':');
    if (name?.trim() !== device) continue;
    // bytes, packets, errs, drop, fifo, ...
    return Number(counts!.trim().split(/\s+/)[4]);
  }
  throw new Error(`find ${device} in /proc/net/dev: there is no such line`);
}

function readInterrupts(platform: Platform, { name, kind }: NetworkLink): Known<Interrupt[]> {
  // Virtual interfaces have none.
  if (kind !== undefined) return { value: [] };
  return known(() => {
    const numbers = interruptNumbers(platform, name);
    const counts = readCounts(readText(platform, '/proc/interrupts'));
    return numbers.map((number): Interrupt => {
      const folder = `/proc/irq/${number}`;
      const cpus =
        readTextIfAny(platform, `${folder}/effective_affinity_list`) ||
        readText(platform, `${folder}/smp_affinity_list`);
      return { number, count: counts.get(number) ?? 0, cpus: readNumberList(cpus) };
    });
  });
}

/** Returns the MSI interrupts of an interface; with virtio they are those of the parent device. */
function interruptNumbers(platform: Platform, device: string): number[] {
  const folder = `/sys/class/net/${device}/device`;
  for (const path of [`${folder}/msi_irqs`, `${folder}/../msi_irqs`]) {
    try {
      return readDirectory(platform, path).map(({ name }) => Number(name));
    } catch (error) {
      if (!isSysError(error, 'ENOENT')) throw error;
    }
  }
  // Throws where /sys shows another network namespace.
  readDirectory(platform, `/sys/class/net/${device}`);
  return [];
}

/** Returns how often each numbered interrupt has occurred, from the text of /proc/interrupts. */
export function readCounts(text: string): Map<number, number> {
  const [header = '', ...lines] = text.split('\n');
  const cpus = header.trim().split(/\s+/).length;
  const counts = new Map<number, number>();
  for (const line of lines) {
    const [name = '', ...fields] = line.trim().split(/\s+/);
    if (!/^\d+:$/.test(name)) continue;
    const sum = fields.slice(0, cpus).reduce((total, field) => total + Number(field), 0);
    counts.set(Number.parseInt(name, 10), sum);
  }
  return counts;
}
