import { type MapSizes, settings } from '@heddle/agent/settings';
import { exitCodes, Failure } from '@heddle/control/failure';
import * as v from 'valibot';
import { parseDocument } from 'yaml';

// A scenario describes the size of a cluster and the steps that change it. docs/simulate.md
// explains the fields.

/** A duration such as `500ms`, `10s`, `5m`, `2h`, or a number of seconds, as milliseconds. */
const durationRemedy = 'write a time such as 500ms, 10s, 5m or 2h';
const maxDurationMs = 30 * 24 * 3_600_000;
const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const duration = v.pipe(
  v.union(
    [
      v.pipe(v.string(), v.regex(/^\d{1,9}(ms|s|m|h)$/, durationRemedy)),
      v.pipe(v.number(), v.minValue(0, durationRemedy)),
    ],
    durationRemedy,
  ),
  v.transform((value) => {
    if (typeof value === 'number') return Math.round(value * 1000);
    const [, number, unit] = /^(\d+)(\w+)$/.exec(value)!;
    return Number(number) * units[unit as keyof typeof units];
  }),
  v.maxValue(maxDurationMs, 'write at most 720h'),
);

const whole = (from: number, to: number) => {
  const remedy = `write a whole number from ${from} to ${to}`;
  return v.pipe(
    v.number(remedy),
    v.integer(remedy),
    v.minValue(from, remedy),
    v.maxValue(to, remedy),
  );
};

const text = (remedy: string) =>
  v.pipe(v.string(remedy), v.minLength(1, remedy), v.maxLength(1000, remedy));

const choice = <const Options extends readonly string[]>(...options: Options) =>
  v.picklist(options, `write ${options.slice(0, -1).join(', ')} or ${options.at(-1)}`);

/** Returns the schema of a mapping of exactly these fields, with messages that name them. */
function struct<const Entries extends v.ObjectEntries>(entries: Entries) {
  const names = Object.keys(entries).join(', ');
  return v.strictObject(entries, (issue) => {
    if (issue.expected === 'never') return `there is no such field; use ${names}`;
    const missing = /^"(.*)"$/.exec(issue.expected ?? '')?.[1];
    if (missing === undefined) return `write a mapping of the fields ${names}`;
    return v.safeParse(entries[missing] as v.GenericSchema, undefined).issues![0].message;
  });
}

const serviceRemedy =
  'write NAMESPACE/NAME of a service, or NAME in the namespace default; * matches any text';
const service = v.pipe(
  text(serviceRemedy),
  v.regex(/^([a-z0-9*.-]+\/)?[a-z0-9*.-]+$/, serviceRemedy),
  v.transform((name) => (name.includes('/') ? name : `default/${name}`)),
);

const nodesRemedy = 'write how many nodes, a list of their names, or all';
const someNodes = v.union(
  [
    v.pipe(v.number(), v.integer(nodesRemedy), v.minValue(1, nodesRemedy)),
    v.array(v.string()),
    v.literal('all'),
  ],
  nodesRemedy,
);

const someRemedy = 'write how many, or a list of addresses or pod names';
const some = v.optional(
  v.union(
    [v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(100_000)), v.array(v.string())],
    someRemedy,
  ),
  0,
);

const traffic = struct({
  to: service,
  from: v.optional(choice('outside', 'pod', 'node'), 'outside'),
  /** The name or number of a port. The default is the service's first. */
  port: v.optional(
    v.pipe(
      v.union([v.string(), v.number()], 'write the name or number of a port of the service'),
      v.transform(String),
    ),
  ),
  protocol: v.optional(choice('tcp', 'udp')),
  frontend: v.optional(choice('ClusterIP', 'LoadBalancer', 'ExternalIP', 'NodePort')),
  family: v.optional(choice('IPv4', 'IPv6')),
  connections: whole(1, 10_000_000),
  /**
   * The number of external addresses or pods that the connections come from; for the default see
   * docs.
   */
  clients: v.optional(whole(1, 65_536)),
  /** The node that external packets enter by. */
  via: v.optional(text('write ecmp, resilient or the name of a node'), 'ecmp'),
  keep: v.optional(v.boolean('write true or false'), false),
  over: v.optional(duration, '1s'),
});

const nodeCount = whole(1, 10_000);

const schema = struct({
  seed: v.optional(whole(0, 0xffffffff), 1),
  nodes: v.optional(
    v.union(
      [
        v.pipe(
          nodeCount,
          v.transform((count) => ({ count, zones: [] as string[] })),
        ),
        v.strictObject({
          count: nodeCount,
          zones: v.optional(
            v.array(v.pipe(v.string(), v.regex(/^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/))),
            [],
          ),
        }),
      ],
      'write how many nodes (1 to 10000), or {count: 1000, zones: [a, b, c]}',
    ),
  ),
  sizes: v.optional(
    struct(
      Object.fromEntries(
        Object.entries(settings.sizes.fields).map(([name, { fallback }]) => [
          name,
          v.optional(whole(1, 16_777_216), fallback),
        ]),
      ) as Record<keyof MapSizes, v.OptionalSchema<ReturnType<typeof whole>, number>>,
    ),
    {},
  ),
  services: v.optional(
    struct({
      count: whole(1, 1_000_000),
      backends: v.optional(whole(0, 1000), 1),
      protocol: v.optional(choice('TCP', 'UDP', 'SCTP'), 'TCP'),
      type: v.optional(choice('ClusterIP', 'LoadBalancer', 'NodePort'), 'ClusterIP'),
      algorithm: v.optional(
        choice('random', 'round-robin', 'weighted', 'least-connections', 'maglev'),
        'random',
      ),
      affinitySeconds: v.optional(whole(0, 86_400), 0),
    }),
  ),
  steps: v.pipe(
    v.array(
      struct({
        name: v.optional(text('write a few words')),
        at: v.optional(duration),
        traffic: v.optional(traffic),
        backends: v.optional(
          struct({ service, add: v.optional(whole(0, 100_000), 0), remove: some, drain: some }),
        ),
        fail: v.optional(struct({ nodes: someNodes, noticed: v.optional(duration, '0s') })),
        heal: v.optional(struct({ nodes: someNodes })),
        close: v.optional(service),
        restart: v.optional(struct({ nodes: someNodes, down: v.optional(duration, '1s') })),
      }),
      'write a list of steps',
    ),
    v.minLength(1, 'write at least one step'),
    v.maxLength(1000, 'write at most 1000 steps'),
  ),
});

export type Scenario = v.InferOutput<typeof schema>;
export type ScenarioStep = Scenario['steps'][number];
export type TrafficStep = NonNullable<ScenarioStep['traffic']>;
export type GeneratedServices = NonNullable<Scenario['services']>;
/** A list of names, `all`, or a number of nodes. */
export type SomeNodes = v.InferOutput<typeof someNodes>;

/** The actions of a step. A step has one of them or none, then only time passes. */
export const actions = ['traffic', 'close', 'backends', 'fail', 'heal', 'restart'] as const;

/** The limit on the size of a scenario. */
const maxBytes = 1 << 20;

/** Reads a scenario. Throws a Failure that names every field that can't be used. */
export function readScenario(file: string, content: string): Scenario {
  const fail = (sentences: readonly string[]): never => {
    throw new Failure(
      exitCodes.failed,
      sentences.map((sentence) => `read scenario ${file}: ${sentence}`).join('\n'),
    );
  };
  if (content.length > maxBytes) return fail(['the file is larger than 1 MiB']);
  const document = parseDocument(content, { prettyErrors: true, logLevel: 'silent' });
  const [problem] = document.errors;
  if (problem) {
    const line = problem.linePos ? ` in line ${problem.linePos[0].line}` : '';
    const cause = problem.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '');
    return fail([`not YAML${line}: ${cause}`]);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    return fail([(error as Error).message]);
  }
  const result = v.safeParse(schema, value);
  if (!result.success) return fail(result.issues.map(describe));
  const ambiguous = result.output.steps.flatMap((step, i) => {
    const found = actions.filter((action) => step[action] !== undefined);
    return found.length < 2
      ? []
      : [`steps[${i}] has ${found.join(' and ')}; write a step for each`];
  });
  return ambiguous.length > 0 ? fail(ambiguous) : result.output;
}

function describe(issue: v.BaseIssue<unknown>): string {
  const path = (v.getDotPath(issue) ?? '').replace(/\.(\d+)/g, '[$1]');
  const field = path === '' ? 'the file' : path;
  if (issue.expected === 'never') return `${field}: ${issue.message}`;
  const missing = issue.input === undefined;
  return `${field} is ${missing ? 'missing' : shown(issue.input)}; ${issue.message}`;
}

function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length > 80 ? `${json.slice(0, 77)}...` : json;
}
