import type { ManifestObject } from '../node-network-lab.ts';
import type { CaseLab } from './case-lab.ts';
import {
  type ExpectedProbe,
  formatTable,
  type PolicyCase,
  type PolicyStep,
} from './policy-case.ts';
import { namespaceObject, type PodSpec, podKey } from './policy-lab.ts';
import { type Outcome, type Probe, type ProbeHost, Prober, type ServedPorts } from './prober.ts';

/** A probe with a wrong outcome. */
export interface Mismatch {
  readonly case: string;
  readonly step: number;
  readonly family: 'IPv4' | 'IPv6';
  readonly expected: ExpectedProbe;
  readonly outcome: Outcome;
  /** The outcome of a second probe, some time later. */
  readonly again: Outcome;
}

/** The result of playing cases. */
export interface Played {
  readonly cases: number;
  readonly steps: number;
  /** Numbers of probes by family and expected outcome. */
  readonly counts: ReadonlyMap<string, number>;
  readonly mismatches: readonly Mismatch[];
  /** Tables of the steps with mismatches. */
  readonly report: string;
}

const families = { IPv4: 'v4', IPv6: 'v6' } as const;
const familyNames = ['IPv4', 'IPv6'] as const;

/** Plays cases in a lab: it changes objects, waits until the nodes have programmed them, and sends packets. */
export class CasePlayer implements Disposable {
  readonly #lab: CaseLab;
  readonly #prober: Prober;
  readonly #ports: ServedPorts;
  readonly #hosts = new Map<string, ProbeHost>();
  readonly #namespaces = new Map<string, string>();
  #policies: readonly ManifestObject[] = [];

  constructor(lab: CaseLab, ports: ServedPorts) {
    this.#lab = lab;
    this.#ports = ports;
    this.#prober = new Prober(lab.platform);
  }

  /** Connects pods that stay while cases without them are played; in the order of the addresses, if they have any. */
  async connect(
    pods: readonly {
      readonly spec: PodSpec;
      readonly address?: string;
      readonly ports?: ServedPorts;
    }[],
  ): Promise<void> {
    for (const { spec, address, ports } of pods) await this.#connect(spec, address, ports);
  }

  /** Plays cases one after the other. `onCase` gets the title of each, and the number of its mismatches. */
  async play(
    cases: readonly PolicyCase[],
    onCase: (title: string, mismatches: number) => void = () => {},
  ): Promise<Played> {
    const counts = new Map<string, number>();
    const mismatches: Mismatch[] = [];
    const report: string[] = [];
    const lasting = new Set(this.#hosts.keys());
    for (const { title, steps } of cases) {
      const before = mismatches.length;
      for (const [i, step] of steps.entries()) {
        await this.#establish(step, lasting);
        const wrong = this.#check(step, counts).map((each) => ({
          case: title,
          step: i + 1,
          ...each,
        }));
        mismatches.push(...wrong);
        if (wrong.length > 0) report.push(describe(title, i + 1, step, wrong));
      }
      onCase(title, mismatches.length - before);
    }
    const steps = cases.reduce((sum, each) => sum + each.steps.length, 0);
    return { cases: cases.length, steps, counts, mismatches, report: report.join('\n') };
  }

  [Symbol.dispose](): void {
    this.#prober[Symbol.dispose]();
  }

  async #connect(spec: PodSpec, address?: string, ports = this.#ports): Promise<void> {
    const key = podKey(spec);
    const host = { name: key, host: await this.#lab.connect(spec, address) };
    this.#hosts.set(key, host);
    this.#prober.serve(host, ports);
  }

  /** Makes the objects those of a step. */
  async #establish(step: PolicyStep, lasting: ReadonlySet<string>): Promise<void> {
    const put: ManifestObject[] = [];
    const remove: ManifestObject[] = [];
    for (const [name, labels] of step.namespaces) {
      const text = JSON.stringify(labels);
      if (this.#namespaces.get(name) === text) continue;
      this.#namespaces.set(name, text);
      put.push(namespaceObject(name, labels));
    }
    const keys = new Set(step.pods.map(podKey));
    for (const key of [...this.#hosts.keys()]) {
      if (keys.has(key) || lasting.has(key)) continue;
      this.#prober.stop(this.#hosts.get(key)!);
      this.#hosts.delete(key);
      await this.#lab.disconnect(key);
    }
    for (const spec of step.pods) {
      const key = podKey(spec);
      if (!this.#hosts.has(key)) {
        // The namespace's labels decide which policies the new pod has.
        this.#lab.change({ put });
        await this.#connect(spec);
      } else if (JSON.stringify(this.#lab.specOf(key)!.labels) !== JSON.stringify(spec.labels)) {
        put.push(this.#lab.relabelled(key, spec.labels));
      }
    }
    for (const name of [...this.#namespaces.keys()]) {
      const isUsed = [...this.#hosts.keys()].some((key) => key.startsWith(`${name}/`));
      if (step.namespaces.has(name) || isUsed) continue;
      this.#namespaces.delete(name);
      remove.push(namespaceObject(name, {}));
    }
    const isKept = (policy: ManifestObject) =>
      step.policies.some((each) => nameOf(each) === nameOf(policy));
    remove.push(...this.#policies.filter((policy) => !isKept(policy)));
    this.#policies = step.policies;
    await this.#lab.apply({ put: [...put, ...step.policies], remove });
  }

  #check(step: PolicyStep, counts: Map<string, number>): Omit<Mismatch, 'case' | 'step'>[] {
    const all = familyNames.flatMap((family) =>
      step.expected.map((expected) => ({ family, expected })),
    );
    const send = (these: typeof all): Outcome[] =>
      this.#prober.probe(
        these.map(({ family, expected }) => this.#probeOf(expected, family)),
        { drops: () => this.#lab.drops() },
      );
    const outcomes = send(all);
    const wrong = all
      .map((each, i) => ({ ...each, outcome: outcomes[i]! }))
      .filter(({ expected, outcome }) => outcome !== wanted(expected));
    for (const { family, expected } of all) {
      const key = `${family} ${expected.protocol} ${expected.allowed ? 'allowed' : 'denied'}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const again = wrong.length > 0 ? send(wrong) : [];
    return wrong.map((each, i) => ({ ...each, again: again[i]! }));
  }

  #probeOf(
    { from, to, protocol, port }: ExpectedProbe,
    family: (typeof familyNames)[number],
  ): Probe {
    const server = this.#hosts.get(to)!;
    const address = server.host.addresses[families[family]];
    return { from: this.#hosts.get(from)!, to: server, address, protocol, port };
  }
}

const nameOf = ({ kind, metadata: { namespace, name } }: ManifestObject) =>
  `${kind} ${namespace}/${name}`;
const wanted = ({ allowed }: ExpectedProbe): Outcome => (allowed ? 'answered' : 'blocked');

/** Returns tables of the outcomes that differ from the expected ones, `?` for what is neither answered nor dropped. */
function describe(
  title: string,
  number: number,
  step: PolicyStep,
  wrong: readonly Omit<Mismatch, 'case' | 'step'>[],
): string {
  const letters: Partial<Record<Outcome, string>> = {
    ...{ answered: '.', blocked: 'X', lost: '?', leaked: 'L' },
  };
  const lines = [`${title}, step ${number}:`];
  const groups = new Set(
    wrong.map(({ family, expected: { protocol, port } }) => `${family} ${protocol}/${port}`),
  );
  const clients = [...new Set(step.expected.map(({ from }) => from))];
  const servers = [...new Set(step.expected.map(({ to }) => to))];
  for (const group of groups) {
    const cells = new Map<string, string>();
    const texts: string[] = [];
    for (const { family, expected, outcome, again } of wrong) {
      const { from, to, protocol, port } = expected;
      if (`${family} ${protocol}/${port}` !== group) continue;
      cells.set(`${from} ${to}`, letters[outcome] ?? 'R');
      texts.push(`    ${from} -> ${to}: ${wanted(expected)} expected, ${outcome}, then ${again}`);
    }
    lines.push(`  ${group}, wrong outcomes:`, indent(formatTable(cells, clients, servers)));
    lines.push(...texts.slice(0, 4));
  }
  lines.push(...step.policies.map((policy) => `  ${JSON.stringify(policy)}`));
  return lines.join('\n');
}

const indent = (text: string) => text.replace(/^/gm, '    ');
