import type { ExpectedProbe } from './policy-case.ts';
import { type PodSpec, podKey } from './policy-lab.ts';
import type { ProbeProtocol } from './prober.ts';

/** A protocol and a port that pods are probed at. */
export type Service = readonly [protocol: ProbeProtocol, port: number];

/**
 * A verdict about connections, as text: `shop/web -> lab/* TCP/80 denied`. `*` stands for any text, and without a
 * service the verdict is about all. Later verdicts prevail over earlier ones, and without one a connection is allowed.
 */
export type VerdictText = `${string} -> ${string} ${'allowed' | 'denied'}`;

/** Returns a probe of each pair of pods and service, with the verdict that the texts give. */
export function expectedProbes(
  pods: readonly PodSpec[],
  services: readonly Service[],
  verdicts: readonly VerdictText[],
): ExpectedProbe[] {
  const rules = verdicts.map((text) => ({ ...readVerdict(text), isUsed: false }));
  const probes = pods.flatMap((from) =>
    pods
      .filter((to) => to !== from && !(to.hostNetwork && from.hostNetwork))
      .flatMap((to) =>
        services.map(([protocol, port]) => {
          const text = [podKey(from), podKey(to), port === 0 ? protocol : `${protocol}/${port}`];
          const about = rules.filter(({ patterns }) =>
            patterns.every((pattern, i) => pattern.test(text[i]!)),
          );
          for (const rule of about) rule.isUsed = true;
          // A node always reaches its own pods.
          const isExempt = from.hostNetwork === true && from.node === to.node;
          const allowed = isExempt || (about.at(-1)?.allowed ?? true);
          return { from: podKey(from), to: podKey(to), protocol, port, allowed };
        }),
      ),
  );
  // A text that matches nothing is a mistake of the test.
  const unused = rules.find(({ isUsed }) => !isUsed);
  if (unused) throw new Error(`read verdict ${unused.text}: it is about no probe`);
  return probes;
}

function readVerdict(text: VerdictText) {
  const match = /^(\S+) -> (\S+)(?: (\S+))? (allowed|denied)$/.exec(text);
  if (!match) throw new RangeError(`read verdict ${text}: not as "a/b -> c/d TCP/80 denied"`);
  const [, from, to, service = '*', verdict] = match;
  const pattern = (glob: string) =>
    new RegExp(`^${glob.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`);
  return { text, patterns: [from!, to!, service].map(pattern), allowed: verdict === 'allowed' };
}
