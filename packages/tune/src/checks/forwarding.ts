import { type Change, type Check, type Result, setSysctl } from '../check.ts';
import { type DeviceFacts, type Facts, sysctlOf, valueIfKnown } from '../facts.ts';

const families = {
  IPv4: { master: 'net/ipv4/ip_forward', conf: 'net/ipv4/conf' },
  IPv6: { master: 'net/ipv6/conf/all/forwarding', conf: 'net/ipv6/conf' },
} as const;

/** Returns the names of sysctls below `folder` that end with `field`, with their known values. */
function perInterface({ sysctls }: Facts, folder: string, field: string): [string, string][] {
  return [...sysctls].flatMap(([name, fact]): [string, string][] => {
    const value = valueIfKnown(fact);
    const isOne = name.startsWith(`${folder}/`) && name.endsWith(`/${field}`);
    return isOne && value !== undefined ? [[name, value]] : [];
  });
}

/**
 * Returns the changes that turn forwarding on. The kernel then writes the values of all interfaces, and
 * `accept_redirects` of IPv4, so they are changes, too, and a revert restores them.
 */
function forwardingChanges(facts: Facts, family: keyof typeof families): Change[] {
  const { master, conf } = families[family];
  const values = perInterface(facts, conf, 'forwarding').filter(([name]) => name !== master);
  const rest = values.map(([name]) => setSysctl(name, '1'));
  if (family === 'IPv4') {
    return [setSysctl(master, '1'), ...rest, setSysctl(`${conf}/all/accept_redirects`, '0')];
  }
  // With forwarding, an interface with accept_ra=1 ignores router advertisements and loses its default route.
  const advertised = perInterface(facts, conf, 'accept_ra').filter(([, value]) => value === '1');
  const accepting = advertised
    .filter(([name]) => !/\/(all|default|lo)\//.test(name))
    .map(([name]) => setSysctl(name, '2'));
  return [...accepting, setSysctl(master, '1'), ...rest];
}

export const forwarding: Check = {
  name: 'forwarding',
  about: 'net.ipv4.ip_forward and net.ipv6.conf.all.forwarding',
  advice: '1 in each family that the node has',
  reason:
    'without it the kernel forwards nothing to pods, and its route lookup refuses the packets of Heddle’s programs, too',
  risk: 'the node forwards between all of its interfaces; IPv6: interfaces that follow router advertisements need accept_ra=2, which --apply sets',
  applies: 'yes',
  examine(facts) {
    return (['IPv4', 'IPv6'] as const).map((family): Result => {
      const { master } = families[family];
      if (family === 'IPv6' && 'value' in facts.ipv6 && !facts.ipv6.value) {
        return { subject: family, state: 'good', found: 'the node has no IPv6 address' };
      }
      const fact = sysctlOf(facts, master);
      if ('unknown' in fact) return { subject: family, state: 'unknown', found: fact.unknown };
      const found = `${master.replaceAll('/', '.')}=${fact.value}`;
      if (fact.value === '1') return { subject: family, state: 'good', found };
      return {
        ...{ subject: family, found, recommended: '1' },
        // A cluster may have one family only.
        state: family === 'IPv4' ? 'wrong' : 'improve',
        command: `sysctl -w ${master}=1`,
        changes: forwardingChanges(facts, family),
      };
    });
  },
};

function judgeReversePath(facts: Facts, { name }: DeviceFacts): Result {
  const own = sysctlOf(facts, `net/ipv4/conf/${name}/rp_filter`);
  const all = sysctlOf(facts, 'net/ipv4/conf/all/rp_filter');
  for (const fact of [own, all]) {
    if ('unknown' in fact) return { subject: name, state: 'unknown', found: fact.unknown };
  }
  const [ofDevice, ofAll] = [Number(valueIfKnown(own)), Number(valueIfKnown(all))];
  const used = Math.max(ofDevice, ofAll);
  const found = `${used}, the higher of ${name} (${ofDevice}) and all (${ofAll})`;
  if (used !== 1) return { subject: name, state: 'good', found };
  return {
    ...{ subject: name, state: 'wrong', found, recommended: '2 (loose) at this interface' },
    changes: [setSysctl(`net/ipv4/conf/${name}/rp_filter`, '2')],
  };
}

export const rpFilter: Check = {
  name: 'rp-filter',
  about: 'net.ipv4.conf.*.rp_filter of external interfaces and of the tunnel',
  advice: '0 or 2; the kernel uses the higher one of all and the interface',
  reason:
    'with 1 (strict) the kernel drops packets whose way back leads through another interface, as replies of direct server return and of tunnels do; each packet also takes longer, by 0.006 of the time of a connection',
  risk: 'the interface accepts packets with any source address that has a route',
  applies: 'yes',
  examine(facts) {
    const { devices } = facts;
    if ('unknown' in devices) return [{ state: 'unknown', found: devices.unknown }];
    return devices.value.map((device) => judgeReversePath(facts, device));
  },
};
