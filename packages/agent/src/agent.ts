import type { PinLock } from '@heddle/datapath';
import { type Kind, type ObjectChange, ObjectReader } from '@heddle/objects';
import { Disposal, type LogLevel, type Platform, syscallNumbers } from '@heddle/sys';
import { DropFeed } from './control/drop-feed.ts';
import { controlHandler } from './control/handler.ts';
import { ControlServer, type Handler } from './control/server.ts';
import type { NodeDatapath } from './datapath-part.ts';
import { EventLog } from './events.ts';
import type { Feature, FeatureDefinition, FeatureHost, Methods, Progress } from './feature.ts';
import { IntegrityWatch } from './integrity-watch.ts';
import { networkNamespace, residentBytes } from './machine.ts';
import { NodeWatch } from './node/node-watch.ts';
import { mapPressure } from './pressure.ts';
import type { Source, SourceBatch, SourceListener } from './source/source.ts';
import type { Demand } from './source/watches.ts';
import { SourceLog, shownState } from './source-log.ts';
import type { CoreStatus, EffectiveConfig, RowCounts } from './status.ts';
import { Telemetry } from './telemetry.ts';

export interface AgentParts<Datapath extends NodeDatapath> {
  readonly platform: Platform;
  readonly config: EffectiveConfig;
  /** The version of Heddle. */
  readonly version: string;
  /** The features, in the order in which they run. */
  readonly features: readonly FeatureDefinition<Datapath>[];
  /** Returns the bytes of the CNI plug-in for this architecture, which only the pod network needs. */
  readonly cniPlugin?: () => Uint8Array;
  /** Called first: keeps other agents away from the same pins until it is disposed. */
  readonly takePins: () => Disposable & Pick<PinLock, 'keep'>;
  readonly openDatapath: () => Datapath;
  /** Returns the number of timers and other callbacks that have failed; see guardedPlatform. */
  readonly failures?: () => number;
  /** Called last; the listener receives what the source finds. */
  readonly openSource: (listener: SourceListener, demand: Demand) => Source;
}

/** A feature that runs, and the names of its kinds. */
interface RunningFeature {
  readonly feature: Feature;
  readonly kinds: ReadonlySet<string>;
}

/**
 * The agent: it passes the objects of the source to the features, which program the kernel, and serves status,
 * health and metrics. It names no feature and no kind of object. Disposing it ends the process' part only: maps,
 * programs and links stay in the kernel, where the next agent finds them.
 */
export class Agent<Datapath extends NodeDatapath = NodeDatapath> implements Disposable {
  /** Answers requests of the control protocol, as the control socket does. */
  readonly handle: Handler;
  readonly #platform: Platform;
  readonly #config: EffectiveConfig;
  readonly #version: string;
  readonly #failures: () => number;
  /** The actions against full maps of all features. */
  readonly #remedies: Readonly<Record<string, string>>;
  readonly #started: string;
  readonly #events: EventLog;
  readonly #opened: Disposal;
  readonly #datapath: NodeDatapath;
  readonly #features: RunningFeature[] = [];
  readonly #methods: Methods;
  readonly #telemetry: Telemetry;
  readonly #integrity: IntegrityWatch;
  readonly #source: Source;
  readonly #sourceLog: SourceLog;
  /** True once all features have the first objects. */
  #hasApplied = false;
  /** True once every row of the first objects has been tried. */
  #isSettled = false;

  /** Starts all parts. Throws what they throw, and then leaves the kernel as it was found. */
  constructor(parts: AgentParts<Datapath>) {
    const { platform, config, version, features } = parts;
    this.#platform = platform;
    this.#config = config;
    this.#version = version;
    this.#failures = parts.failures ?? (() => 0);
    this.#remedies = Object.assign({}, ...features.map(({ remedies }) => remedies));
    this.#started = new Date(platform.wallTimeMs()).toISOString();
    this.#events = new EventLog(platform);
    this.#sourceLog = new SourceLog(this.#events);
    const kinds = [...new Set(features.flatMap((each) => each.kinds))];
    // Requests are answered from the event loop, that is after this constructor.
    this.handle = controlHandler(() => this.#methods);
    const opened = new Disposal();
    this.#opened = opened;
    try {
      const pins = opened.use(parts.takePins());
      opened.use(new ControlServer(platform, config.socket, this.handle));
      this.#telemetry = opened.use(this.#serveTelemetry(kinds.map(({ name }) => name)));
      const datapath = opened.use(parts.openDatapath());
      this.#datapath = datapath;
      const host = this.#host(parts.cniPlugin);
      for (const definition of features) {
        const feature = opened.use(definition.open(host, datapath));
        const names = new Set(definition.kinds.map(({ name }) => name));
        this.#features.push({ feature, kinds: names });
        feature.addMetrics?.(this.#telemetry.registry);
      }
      this.#methods = mergedMethods([
        this.#ownMethods(),
        ...this.#features.map(({ feature }) => feature.methods ?? {}),
      ]);
      const events = this.#events;
      const node = opened.use(
        new NodeWatch({
          ...{ platform, config, events, datapath },
          onAddresses: (own) => this.#each((feature) => feature.setAddresses?.(own)),
        }),
      );
      this.#integrity = opened.use(
        new IntegrityWatch({
          ...{ platform, events, node: config.node, integrity: datapath.integrity },
          keepPins: () => pins.keep(),
        }),
      );
      const listener: SourceListener = {
        onChange: (batch) => this.#onBatch(batch),
        onPhase: (state) => {
          if (state.phase === 'disconnected') this.#telemetry.disconnected();
          this.#sourceLog.setPhase(state);
        },
        onApiServers: (servers) => this.#each((feature) => feature.setApiServers?.(servers)),
      };
      this.#source = opened.use(parts.openSource(listener, this.#demand(kinds)));
      const { state, apiServers } = this.#source;
      this.#each((feature) => feature.setApiServers?.(apiServers));
      events.add('info', 'agent', config.node, 'agent started', {
        version,
        [state.kind]: state.path,
        socket: config.socket,
        devices: node.interfaces,
        adopted: datapath.adopted,
      });
    } catch (error) {
      opened[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    const message = 'agent stops; what is programmed stays';
    this.#events.add('info', 'agent', this.#config.node, message);
    this.#opened[Symbol.dispose]();
  }

  /** Returns the first answer of a feature to a question. */
  #firstOf<Answer>(ask: (feature: Feature) => Answer | undefined): Answer | undefined {
    for (const { feature } of this.#features) {
      const answer = ask(feature);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  /** Asks one feature after the other: when one lets the pod go, the next may hold it. */
  #holdPod(address: string, done: () => void): Disposable | undefined {
    for (const { feature } of this.#features) {
      let next: Disposable | undefined;
      const hold = feature.holdPod?.(address, () => {
        next = this.#holdPod(address, done);
        if (!next) done();
      });
      if (!hold) continue;
      return {
        [Symbol.dispose]: () => {
          hold[Symbol.dispose]();
          next?.[Symbol.dispose]();
        },
      };
    }
    return undefined;
  }

  #each(call: (feature: Feature) => void): void {
    for (const { feature } of this.#features) call(feature);
  }

  #host(cniPlugin: () => Uint8Array = missingPlugin): FeatureHost {
    const agent = this;
    const changeLevel: LogLevel = this.#config.manifests === undefined ? 'debug' : 'info';
    return {
      ...{ platform: this.#platform, config: this.#config, events: this.#events, changeLevel },
      cniPlugin,
      get isSettled() {
        return agent.#isSettled;
      },
      get isHealthy() {
        return agent.#telemetry.isHealthy;
      },
      onIdle: () => this.#reportFirstRead(),
      rewatch: () => this.#source.rewatch(),
      setApiServers: (servers) => this.#source.setApiServers(servers),
      attach: (pod, addresses) => this.#each((feature) => feature.attach?.(pod, addresses)),
      detach: (addresses) => this.#each((feature) => feature.detach?.(addresses)),
      holdPod: (address, done) => this.#holdPod(address, done),
      owners: () =>
        new Map(this.#features.flatMap(({ feature }) => [...(feature.owners?.() ?? [])])),
    };
  }

  #demand(kinds: readonly Kind[]): Demand {
    return {
      reader: new ObjectReader(kinds),
      watches: () => this.#features.flatMap(({ feature }) => feature.watches),
      beforeFirst: () => this.#each((feature) => feature.beforeFirst?.()),
      observe: (change) => {
        for (const { feature, kinds: own } of this.#features) {
          if (own.has(kindOf(change))) feature.observe?.(change);
        }
      },
    };
  }

  #serveTelemetry(kinds: readonly string[]): Telemetry {
    return new Telemetry(this.#platform, this.#config, {
      ...{ kinds, events: this.#events },
      status: () => this.#status(),
      notReady: () => this.#notReady(),
      broken: () => this.#integrity,
      progress: () => this.#progress(),
      isNodeEligible: () => this.#features.every(({ feature }) => feature.isNodeEligible ?? true),
    });
  }

  #onBatch(batch: SourceBatch): void {
    const { changes, complete } = batch;
    this.#sourceLog.add(batch, this.#source);
    this.#telemetry.changed(changes);
    for (const { feature, kinds } of this.#features) {
      feature.apply(
        changes.filter((change) => kinds.has(kindOf(change))),
        complete,
      );
    }
    this.#hasApplied = true;
    this.#reportFirstRead();
  }

  /** Reports the result of the first read, in one event instead of one for each row. */
  #reportFirstRead(): void {
    if (this.#isSettled || !this.#hasApplied) return;
    const { done, pending, failed } = this.#counts();
    if (pending > 0) return;
    this.#isSettled = true;
    const { content, state } = this.#source;
    const failures = failed > 0 ? `, ${failed} failed` : '';
    const what = `${content} read: ${done} ${done === 1 ? 'row' : 'rows'} programmed${failures}`;
    if (this.#sourceLog.isComplete) {
      this.#events.add('info', 'source', state.path, what);
    } else {
      const caution = `${what}; not all can be used, so nothing that an earlier agent left is removed yet`;
      this.#events.add('warn', 'source', state.path, caution);
    }
    this.#reportWarnings();
    this.#each((feature) => feature.onFirstRead?.());
  }

  #reportWarnings(): void {
    const { node } = this.#config;
    try {
      for (const warning of this.#warnings(this.#datapath.status())) {
        this.#events.add('warn', 'problem', node, warning);
      }
    } catch (error) {
      // The rows that were read are programmed all the same.
      const message = `look for warnings: ${(error as Error).message}`;
      this.#events.add('warn', 'problem', node, message);
    }
  }

  #notReady(): string | undefined {
    const { content, state } = this.#source;
    if (!this.#sourceLog.isComplete) return `waiting for all ${content} from ${state.path}`;
    return this.#isSettled ? this.#integrity.problem : `programming the first ${content}`;
  }

  /** Returns the rows of all features. */
  #counts(): RowCounts {
    const sum = { done: 0, pending: 0, failed: 0 };
    this.#each(({ progress }) => {
      const counts = progress?.counts();
      sum.done += counts?.done ?? 0;
      sum.pending += counts?.pending ?? 0;
      sum.failed += counts?.failed ?? 0;
    });
    return sum;
  }

  #progress(): Pick<Progress, 'waitedMs' | 'lastDoneMs'> {
    let waitedMs = 0;
    let lastDoneMs: number | undefined;
    this.#each(({ progress }) => {
      if (!progress) return;
      waitedMs = Math.max(waitedMs, progress.waitedMs);
      const doneMs = progress.lastDoneMs;
      if (doneMs !== undefined) lastDoneMs = Math.min(lastDoneMs ?? doneMs, doneMs);
    });
    return { waitedMs, lastDoneMs };
  }

  #status(): CoreStatus {
    const platform = this.#platform;
    const resident = residentBytes(platform);
    const namespace = networkNamespace(platform);
    const datapath = this.#datapath.status();
    const core: CoreStatus = {
      version: this.#version,
      node: this.#config.node,
      pid: platform.syscall(syscallNumbers(platform).getpid),
      ...(namespace === undefined ? {} : { networkNamespace: namespace }),
      started: this.#started,
      ...(resident === undefined ? {} : { residentBytes: resident }),
      source: {
        ...shownState(this.#source.state),
        complete: this.#sourceLog.isComplete,
        problems: this.#sourceLog.problems,
      },
      servers: this.#telemetry.servers,
      synced: this.#sourceLog.hasRead,
      rows: this.#counts(),
      integrity: this.#integrity.status,
      datapath,
      drops: this.#datapath.drops.counts(),
      warnings: this.#warnings(datapath),
    };
    return Object.assign({}, ...this.#features.map(({ feature }) => feature.status?.()), core);
  }

  #warnings(datapath: CoreStatus['datapath']): string[] {
    const failures = this.#failures();
    const source = this.#source.state;
    const facts = { datapath, source, isComplete: this.#sourceLog.isComplete };
    return [
      ...(failures === 0
        ? []
        : [`${failures} callbacks of the agent have failed since its start (the log says why)`]),
      ...mapPressure(datapath, this.#remedies),
      ...this.#features.flatMap(({ feature }) => feature.warnings?.(facts) ?? []),
    ];
  }

  /** Returns the control methods that no feature owns. */
  #ownMethods(): Methods {
    const drops = new DropFeed({
      podAt: (ifindex) => this.#firstOf((feature) => feature.podAt?.(ifindex)),
      ruleAt: (number) => this.#firstOf((feature) => feature.ruleAt?.(number)),
    });
    return {
      status: () => this.#status(),
      'config.get': () => this.#config,
      'events.list': () => ({ items: this.#events.recent() }),
      'events.follow': (_params, follow) => {
        this.#events.follow(follow);
        return { following: true };
      },
      'drops.follow': (_params, follow) => {
        drops.follow(this.#datapath, follow);
        return { following: true };
      },
      release: () => {
        this.#release();
        return { released: true };
      },
    };
  }

  /** Stops attaching and repairing programs, because another process is about to remove them. */
  #release(): void {
    this.#integrity.release();
    this.#datapath.release();
    this.#each((feature) => feature.release?.());
    const message =
      'the programs are released for removal: this agent attaches and repairs nothing more';
    this.#events.add('warn', 'agent', this.#config.node, message);
  }
}

/** Throws Error when two features have a method of the same name. */
function mergedMethods(all: readonly Methods[]): Methods {
  const names = all.flatMap((methods) => Object.keys(methods));
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new Error(`start agent: two features have the method ${twice}`);
  return Object.assign({}, ...all);
}

function kindOf(change: ObjectChange): string {
  return change.op === 'set' ? change.object.kind : change.kind;
}

function missingPlugin(): never {
  throw new Error('this agent has no CNI plug-in');
}
