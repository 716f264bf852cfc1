import type { DatapathStatus, PinLock } from '@heddle/datapath';
import { isLoopback } from '@heddle/objects';
import {
  apiServer,
  type RowChanges,
  ServiceModel,
  type ServiceRow,
  type TunnelEnds,
} from '@heddle/services';
import { Reconciler, type RowStatus, Table } from '@heddle/state';
import { Disposal, type LogLevel, type Platform, syscallNumbers } from '@heddle/sys';
import { controlHandler } from './control/handler.ts';
import { ControlServer, type Handler } from './control/server.ts';
import type { DatapathPart } from './datapath-part.ts';
import { EventLog } from './events.ts';
import { HealthChecks } from './health-checks.ts';
import { IntegrityWatch } from './integrity-watch.ts';
import { listeners, shadowedListeners } from './listeners.ts';
import { residentBytes } from './machine.ts';
import { failedRows, type RefusedRow } from './metrics/agent-metrics.ts';
import { type NodeView, watchNodeDevices } from './node-devices.ts';
import { nodeNameProblem } from './node-name.ts';
import { nodePortChoice } from './node-port-addresses.ts';
import { type OwnAddress, ownAddresses, watchOwnAddresses } from './own-addresses.ts';
import { ownPorts } from './own-ports.ts';
import { pressureWarnings } from './pressure.ts';
import { rowCounts } from './row-counts.ts';
import { localPorts, parsePortRange, snatPortProblems } from './snat-ports.ts';
import type {
  ServerAddress,
  Source,
  SourceBatch,
  SourceListener,
  SourceProblem,
  SourceState,
} from './source/index.ts';
import type { AgentStatus, EffectiveConfig } from './status.ts';
import { Telemetry } from './telemetry.ts';
import { watchTracking } from './tracking.ts';

export interface AgentParts {
  readonly platform: Platform;
  readonly config: EffectiveConfig;
  /** Of Heddle. */
  readonly version: string;
  /** Called first: makes sure that no other agent works on the same pins, until it is disposed. */
  readonly takePins: () => Disposable & Pick<PinLock, 'keep'>;
  readonly openDatapath: () => DatapathPart;
  /** Returns the number of timers and other callbacks that have failed; see guardedPlatform. */
  readonly failures?: () => number;
  /** Called last; what it finds comes to the listener. */
  readonly openSource: (listener: SourceListener) => Source;
}

/** Sockets are listed once for all frontends that come within that time. */
const listenersAfterMs = 1000;

/**
 * The agent: what the source says becomes rows, what changed of the rows is written to the kernel,
 * and nothing flows back but facts. Disposing it ends the process' part only: maps, programs and
 * links stay in force in the kernel, where the next agent finds them.
 */
export class Agent implements Disposable {
  /** Answers requests of the control protocol, as the control socket does. */
  readonly handle: Handler;
  readonly #platform: Platform;
  readonly #config: EffectiveConfig;
  readonly #version: string;
  readonly #failures: () => number;
  readonly #started: string;
  readonly #events: EventLog;
  /** All parts that hold something, in the order in which they were opened. */
  readonly #parts: Disposal;
  readonly #pins: ReturnType<AgentParts['takePins']>;
  readonly #datapath: DatapathPart;
  readonly #model: ServiceModel;
  readonly #table = new Table<ServiceRow>();
  readonly #reconciler: Reconciler<ServiceRow>;
  readonly #telemetry: Telemetry;
  readonly #integrity: IntegrityWatch;
  readonly #healthChecks: HealthChecks;
  readonly #source: Source;
  /** Where traffic from outside is served, in words. */
  #devices: string | undefined;
  /** The reason why the last devices could not be taken. */
  #devicesProblem: string | undefined;
  /** The faults of `nodePortAddresses`, in sentences. */
  #addressProblems: readonly string[] = [];
  /** As the datapath was told. */
  #tunnelEnds: TunnelEnds | undefined;
  /** What the source said last; undefined until its first read is done. */
  #batch: Omit<SourceBatch, 'changes' | 'notes'> | undefined;
  /** All of the first read was tried; from then on every change is an event of its own. */
  #settled = false;
  /** A person changes manifests; a cluster changes all the time. */
  readonly #changeLevel: LogLevel;
  /** Addresses of the devices. */
  #own = new Set<string>();
  /** Runs while rows with frontends at the node itself have changed, until listeners are looked for. */
  #lookForListeners: Disposable | undefined;
  #saidShadowed = new Set<string>();
  /** Since when the source is disconnected, by the wall clock. */
  #disconnectedMs: number | undefined;

  /** Starts all parts. Throws what they throw, and then leaves the kernel as it was found. */
  constructor({
    platform,
    config,
    version,
    takePins,
    openDatapath,
    openSource,
    failures,
  }: AgentParts) {
    this.#platform = platform;
    this.#config = config;
    this.#changeLevel = config.manifests === undefined ? 'debug' : 'info';
    this.#version = version;
    this.#failures = failures ?? (() => 0);
    this.#started = new Date(platform.wallTimeMs()).toISOString();
    this.#events = new EventLog(platform);
    const addresses = ownAddresses(platform);
    this.#model = new ServiceModel({
      nodeName: config.node,
      ownAddresses: [],
      forwarding: config.forwarding,
      externalIPs: config.externalIPs,
      maxFrontends: Math.max(config.sizes.services, config.sizes.servicesMax),
    });

    const opened = new Disposal();
    this.#parts = opened;
    const keep = <Part extends Disposable>(part: Part): Part => opened.use(part);
    try {
      this.#pins = keep(takePins());
      // Requests are answered from the event loop, that is after this constructor.
      this.handle = controlHandler({
        config,
        model: this.#model,
        table: this.#table,
        events: this.#events,
        reconciler: () => this.#reconciler,
        datapath: () => this.#datapath,
        healthCheck: (key) => this.#healthChecks.entry(key),
        status: () => this.#status(),
        release: () => this.#release(),
      });
      keep(new ControlServer(platform, config.socket, this.handle));
      this.#telemetry = keep(
        new Telemetry(platform, config, {
          model: this.#model,
          events: this.#events,
          status: () => this.#status(),
          failedRows: () => failedRows(this.#reconciler.statuses(), (key) => this.#table.get(key)),
          refusedRows: () => this.#refusedRows(),
          notReady: () => this.#notReady(),
          broken: () => this.#integrity,
        }),
      );
      this.#healthChecks = keep(
        new HealthChecks({
          platform,
          events: this.#events,
          isHealthy: () => this.#telemetry.isHealthy,
        }),
      );
      this.#datapath = keep(openDatapath());
      this.#reconciler = keep(
        new Reconciler(this.#table, this.#datapath.services, platform, {
          onStatus: (key, status) => this.#onStatus(key, status),
          onIdle: () => this.#onIdle(),
        }),
      );
      keep(watchOwnAddresses(platform, addresses, (now) => this.#onAddresses(now)));
      keep(watchTracking(platform, (tracked) => this.#onTracking(tracked)));
      this.#takeAddresses(addresses);
      keep(watchNodeDevices(platform, config, (view) => this.#onNodeDevices(view)));
      this.#integrity = keep(
        new IntegrityWatch({
          ...{
            platform,
            events: this.#events,
            node: config.node,
            integrity: this.#datapath.integrity,
          },
          keepPins: () => this.#pins.keep(),
        }),
      );
      this.#source = keep(
        openSource({
          onChange: (batch) => this.#onBatch(batch),
          onPhase: (state) => this.#onPhase(state),
          onApiServers: (servers) => this.#reserve(servers),
        }),
      );
      this.#reserve(this.#source.apiServers);
      this.#events.add('info', 'agent', config.node, 'agent started', {
        version,
        [this.#source.state.kind]: this.#source.state.path,
        socket: config.socket,
        devices: this.#devices,
        adopted: this.#datapath.adopted,
      });
    } catch (error) {
      opened[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#events.add('info', 'agent', this.#config.node, 'agent stops; what is in force stays');
    this.#lookForListeners?.[Symbol.dispose]();
    this.#parts[Symbol.dispose]();
  }

  #onBatch({ changes, complete, problems, notes }: SourceBatch): void {
    for (const note of notes) this.#say('info', note);
    const before = this.#batch?.problems ?? [];
    if (problems !== before) {
      const known = new Set(before.map(whereAndWhat));
      for (const problem of problems) {
        if (!known.has(whereAndWhat(problem))) this.#say('warn', problem);
      }
      if (known.size > 0 && problems.length === 0) {
        const { content, state } = this.#source;
        this.#events.add('info', 'source', state.path, `all ${content} can be used again`);
      }
    }
    this.#batch = { complete, problems };
    this.#telemetry.taken(changes);
    this.#write(this.#model.apply(changes));
    if (complete) this.#reconciler.setComplete();
  }

  #onPhase({ phase, path, sinceMs, reason }: SourceState): void {
    if (phase === 'disconnected') {
      this.#disconnectedMs = sinceMs;
      this.#telemetry.disconnected();
      const message = `disconnected from ${path}: ${reason}; what is in force stays`;
      this.#events.add('warn', 'source', path, message);
    } else if (this.#disconnectedMs !== undefined) {
      const seconds = Math.round((sinceMs - this.#disconnectedMs) / 1000);
      this.#disconnectedMs = undefined;
      this.#events.add('info', 'source', path, `connected to ${path} again after ${seconds} s`);
    }
  }

  /**
   * Keeps objects from taking the API servers' ports and the agent's own. What an earlier agent left at an
   * API server is deleted at once: the connection that would bring the news is about to be made.
   */
  #reserve(servers: readonly ServerAddress[]): void {
    try {
      this.#datapath.services.dropFrontends(servers);
    } catch (error) {
      const message = `keep the API server's addresses free: ${(error as Error).message}`;
      this.#events.add('error', 'problem', this.#config.node, message);
    }
    const held = servers.map((server) => ({ ...server, holder: apiServer }));
    const changes = this.#model.setReserved([...ownPorts(this.#config), ...held]);
    if (changes.upserted.length + changes.removed.length > 0) this.#write(changes);
  }

  #say(level: 'info' | 'warn', what: SourceProblem): void {
    const kind = level === 'info' ? 'source' : 'problem';
    this.#events.add(level, kind, what.file, whereAndWhat(what));
  }

  /** Some CNI plug-ins give the node an address for each pod: those are no news unless they serve. */
  #onAddresses(now: readonly OwnAddress[]): void {
    const { node } = this.#config;
    const before = this.#model.nodePortAddresses;
    const own = textsOf(now).join(', ') || 'none';
    this.#platform.log('debug', `own addresses are now ${own}`, { subject: node });
    this.#write(this.#takeAddresses(now));
    const after = this.#model.nodePortAddresses;
    if (after.join() === before.join()) return;
    const message = `NodePorts are now served at ${after.join(', ') || 'no address'}`;
    this.#events.add('info', 'agent', node, message);
  }

  #takeAddresses(own: readonly OwnAddress[]): RowChanges {
    const { node, nodePortAddresses } = this.#config;
    const { ranges, problems } = nodePortChoice(nodePortAddresses, own);
    const known = new Set(this.#addressProblems);
    this.#addressProblems = problems;
    for (const problem of problems) {
      if (!known.has(problem)) this.#events.add('warn', 'problem', node, problem);
    }
    this.#own = new Set(textsOf(own));
    return this.#model.setOwnAddresses(textsOf(own), ranges);
  }

  /** False when the datapath could not take it. */
  #onNodeDevices({ devices, addresses, problems }: NodeView): boolean {
    const { node } = this.#config;
    const isRetry = this.#devicesProblem !== undefined;
    if (!isRetry) for (const each of problems) this.#events.add('warn', 'problem', node, each);
    try {
      this.#datapath.setNode(devices, addresses);
      this.#devicesProblem = undefined;
    } catch (error) {
      const message = `serve traffic from outside: ${(error as Error).message}`;
      if (message !== this.#devicesProblem) this.#events.add('error', 'problem', node, message);
      this.#devicesProblem = message;
      return false;
    }
    const before = this.#devices;
    const front = devices.filter(({ pods }) => !pods);
    this.#devices = front.map(({ name }) => name).join(', ') || 'no device';
    if (before === undefined || before === this.#devices) return true;
    const message = `traffic from outside is now served on ${this.#devices}`;
    this.#events.add('info', 'agent', node, message);
    return true;
  }

  #onTracking(tracked: boolean): void {
    this.#datapath.nat.setTracked(tracked);
    if (!tracked || this.#config.devices === 'none') return;
    const message =
      'netfilter tracks connections here: packets from outside to pods of this node pass its FORWARD rules';
    this.#events.add('info', 'agent', this.#config.node, message);
  }

  #write(changes: RowChanges): void {
    this.#telemetry.queued();
    this.#setTunnelEnds(this.#model.tunnelEnds);
    this.#table.apply(changes);
    this.#reconciler.sync();
  }

  /** Before rows ask for tunnels: their other ends are known then. */
  #setTunnelEnds(ends: TunnelEnds): void {
    if (ends === this.#tunnelEnds) return;
    try {
      this.#datapath.nat.setTunnelEnds(ends);
      this.#tunnelEnds = ends;
    } catch (error) {
      const message = `take tunnels from other nodes: ${(error as Error).message}`;
      this.#events.add('error', 'problem', this.#config.node, message);
    }
  }

  #onIdle(): void {
    this.#telemetry.idle(this.#reconciler.counts());
    this.#settle();
  }

  #onStatus(key: string, status: RowStatus | undefined): void {
    this.#telemetry.settled(key, status);
    const isRefused = this.#table.get(key)?.notAdmitted !== undefined;
    if (!status || isRefused) this.#healthChecks.delete(key);
    else if (status.state === 'done') this.#healthChecks.set(this.#table.get(key)!);
    if (!status) {
      this.#events.add(this.#changeLevel, 'removed', key, `${key} removed`);
    } else if (status.state === 'failed') {
      this.#events.add('warn', 'failed', key, `${key} failed: ${status.reason}`);
    } else if (status.state === 'done' && this.#settled) {
      const row = this.#table.get(key)!;
      if (row.frontends.some(({ kind }) => kind !== 'ClusterIP')) {
        this.#lookForListeners ??= this.#platform.setTimer(listenersAfterMs, () => {
          this.#lookForListeners = undefined;
          this.#sayShadowed();
        });
      }
      const backends = row.backends.length;
      const message = `${key} in force with ${backends} ${backends === 1 ? 'backend' : 'backends'}`;
      this.#events.add(this.#changeLevel, 'in-force', key, message);
      this.#sayRefused(row);
    }
  }

  /** Says once what the first read came to, instead of once per row. */
  #settle(): void {
    if (this.#settled || !this.#batch) return;
    const { done, failed } = this.#reconciler.counts();
    const { content, state } = this.#source;
    this.#settled = true;
    const failures = failed > 0 ? `, ${failed} failed` : '';
    const what = `${content} read: ${done} ${done === 1 ? 'row' : 'rows'} in force${failures}`;
    if (this.#batch.complete) {
      this.#events.add('info', 'source', state.path, what);
    } else {
      const caution = `${what}; not all can be used, so nothing that an earlier agent left is removed yet`;
      this.#events.add('warn', 'source', state.path, caution);
    }
    for (const row of this.#table.rows()) this.#sayRefused(row);
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
    this.#saidShadowed = new Set(this.#shadowed());
  }

  #notReady(): string | undefined {
    const { content, state } = this.#source;
    if (!this.#batch?.complete) return `waiting for all ${content} from ${state.path}`;
    return this.#settled ? this.#integrity.problem : 'bringing what was read into force';
  }

  #sayRefused({ key, problems }: ServiceRow): void {
    for (const problem of problems) this.#events.add('warn', 'problem', key, problem);
  }

  #status(): AgentStatus {
    const platform = this.#platform;
    const resident = residentBytes(platform);
    const datapath = this.#datapath.status();
    return {
      version: this.#version,
      node: this.#config.node,
      pid: platform.syscall(syscallNumbers(platform).getpid),
      started: this.#started,
      ...(resident === undefined ? {} : { residentBytes: resident }),
      addresses: this.#model.nodePortAddresses,
      source: {
        ...shownState(this.#source.state),
        complete: this.#batch?.complete ?? false,
        problems: this.#batch?.problems ?? [],
      },
      servers: this.#telemetry.servers,
      healthChecks: this.#healthChecks.counts,
      synced: this.#batch !== undefined,
      rows: rowCounts(this.#table, this.#reconciler, this.#model),
      integrity: this.#integrity.status,
      datapath,
      refusals: this.#datapath.drops.refusals(),
      drops: this.#datapath.drops.counts(),
      warnings: this.#warnings(datapath),
    };
  }

  #release(): void {
    this.#integrity.release();
    this.#datapath.release();
    const message =
      'the programs are released for removal: this agent attaches and repairs nothing more';
    this.#events.add('warn', 'agent', this.#config.node, message);
  }

  *#refusedRows(): Generator<RefusedRow> {
    for (const { rowKey, reason, count } of this.#datapath.services.refusalCounts()) {
      const row = this.#table.get(rowKey);
      if (row) yield { row, reason, count };
    }
  }

  #warnings(datapath: DatapathStatus): string[] {
    const snatPorts = parsePortRange(this.#config.snatPorts)!;
    const unknownNode = this.#batch?.complete
      ? nodeNameProblem(this.#config.node, this.#model.nodeNames, this.#source.state.kind)
      : undefined;
    const failures = this.#failures();
    return [
      ...(failures === 0
        ? []
        : [`${failures} callbacks of the agent have failed since its start (the log says why)`]),
      ...(unknownNode === undefined ? [] : [unknownNode]),
      ...pressureWarnings(datapath),
      ...snatPortProblems(snatPorts, localPorts(this.#platform), this.#table.rows()),
      ...this.#shadowed(),
    ];
  }

  /** Frontends that take what a process of this node waits for, in sentences. */
  #shadowed(): readonly string[] {
    try {
      const isOwn = (address: string) => isLoopback(address) || this.#own.has(address);
      return shadowedListeners(this.#table.rows(), listeners(this.#platform), isOwn);
    } catch (error) {
      return [`look for processes that listen at a service's port: ${(error as Error).message}`];
    }
  }

  /** Reports frontends that take what a process of this node waits for, each once. */
  #sayShadowed(): void {
    const now = new Set(this.#shadowed());
    for (const sentence of now) {
      if (this.#saidShadowed.has(sentence)) continue;
      this.#events.add('warn', 'problem', this.#config.node, sentence);
    }
    this.#saidShadowed = now;
  }
}

function textsOf(own: readonly OwnAddress[]): string[] {
  return [...new Set(own.map(({ address }) => address))];
}

/** As the control socket shows it. */
function shownState(state: SourceState) {
  const { kind, path, phase, sinceMs, lastEventMs, reason, retryAtMs } = state;
  const time = (ms: number) => new Date(ms).toISOString();
  return {
    ...{ kind, path, phase, since: time(sinceMs) },
    ...(lastEventMs === undefined ? {} : { lastEvent: time(lastEventMs) }),
    ...(reason === undefined ? {} : { reason }),
    ...(retryAtMs === undefined ? {} : { retryAt: time(retryAtMs) }),
  };
}

function whereAndWhat({ file, line, message }: SourceProblem): string {
  if (file === '') return message;
  return line > 0 ? `${file}:${line}: ${message}` : `${file}: ${message}`;
}
