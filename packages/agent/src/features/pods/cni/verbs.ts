import type { NetworkNamespace } from '@heddle/netlink';
import { encodeError, encodeResult } from './answer.ts';
import {
  type AttachmentKey,
  type CniCall,
  type PodNames,
  parseCall,
  readValidAttachments,
  versionOf,
} from './call.ts';
import { CniError } from './errors.ts';
import { type CniMessage, parseMessage } from './message.ts';
import { type AddedPod, addResult, previousAddresses, versionResult } from './result.ts';

/** The work behind the verbs. Methods throw CniError; another error becomes one with code 100. */
export interface CniHandler {
  /** Connects a pod. The same attachment twice gives the same result. */
  add(call: CniCall & { readonly verb: 'ADD' }, namespace: NetworkNamespace): AddedPod;
  /**
   * Has the runtime wait for a connected pod: calls `done` once it may start, unless the result is disposed before.
   * Returns undefined if it may start now.
   */
  hold(pod: AddedPod, done: () => void): Disposable | undefined;
  /** Returns the error of a pod that may not start, and disconnects it. */
  giveUp(call: AttachmentKey & PodNames): CniError;
  /** Forgets a pod. An unknown one is fine. */
  remove(key: AttachmentKey): void;
  /** Checks that a pod is connected as ADD has left it. */
  check(
    call: CniCall & { readonly verb: 'CHECK' },
    namespace: NetworkNamespace,
    addresses: readonly string[],
  ): void;
  /** Removes all pods but these. */
  collect(valid: readonly AttachmentKey[]): void;
  /** The reason why calls of ADD have to wait, if there is one. */
  readonly notReady: string | undefined;
  /** The reason why no further pod can be connected now, if there is one. */
  readonly unavailable: string | undefined;
  /** True until the agent knows whether it can connect pods. */
  readonly isStarting: boolean;
}

/** An answered call. */
export interface Answered {
  readonly bytes: Uint8Array;
  /** CNI_COMMAND; empty if it could not be read. */
  readonly verb: string;
  /** `CONTAINERID/IFNAME`; empty for verbs without them. */
  readonly subject: string;
  readonly error: CniError | undefined;
  /** The pod that ADD has connected. */
  readonly added?: { readonly pod: AddedPod; readonly call: AttachmentKey & PodNames };
}

/** Answers a call, with the network namespace that came with it. Never throws. */
export function answerCall(
  message: Uint8Array,
  namespace: NetworkNamespace | undefined,
  handler: CniHandler,
): Answered {
  let read: CniMessage | undefined;
  let subject = '';
  try {
    read = parseMessage(message);
    const call = parseCall(read);
    if ('containerId' in call) subject = `${call.containerId}/${call.interfaceName}`;
    const { verb } = call;
    if (verb === 'ADD') {
      const pod = add(call as AddCall, namespace, handler);
      const bytes = encodeResult(addResult(call.version, pod));
      return { bytes, verb, subject, error: undefined, added: { pod, call: call as AddCall } };
    }
    const output = run(call, verb, namespace, handler);
    return { bytes: encodeResult(output), verb, subject, error: undefined };
  } catch (cause) {
    const error = toCniError(cause);
    const verb = read?.environment.get('CNI_COMMAND') ?? '';
    const version = versionOf(read?.input ?? new Uint8Array(0));
    return { bytes: encodeError(version, error), verb, subject, error };
  }
}

/** Returns the answer in place of another one, for a pod that may not start. */
export function failedAnswer(
  message: Uint8Array,
  { verb, subject }: Answered,
  error: CniError,
): Answered {
  const version = versionOf(parseMessage(message).input);
  return { bytes: encodeError(version, error), verb, subject, error };
}

type AddCall = CniCall & { readonly verb: 'ADD' };

function add(
  call: AddCall,
  namespace: NetworkNamespace | undefined,
  handler: CniHandler,
): AddedPod {
  const { prevResult } = call.config;
  if (prevResult !== undefined && prevResult !== null) {
    const reason = 'another plug-in precedes heddle-cni, which has to be the first of the list';
    throw new CniError('config', `connect pod: prevResult is given: ${reason}`);
  }
  if (handler.notReady !== undefined) {
    throw new CniError('tryAgain', `connect pod: ${handler.notReady}`);
  }
  return handler.add(call, given(call, namespace));
}

/** Returns what the plug-in prints. */
function run(
  call: CniCall,
  verb: Exclude<CniCall['verb'], 'ADD'>,
  namespace: NetworkNamespace | undefined,
  handler: CniHandler,
): object | undefined {
  const { version, config } = call;
  switch (verb) {
    case 'CHECK': {
      const addresses = previousAddresses(config);
      handler.check(call as never, given(call as never, namespace), addresses);
      return undefined;
    }
    case 'DEL':
      handler.remove(call as never);
      return undefined;
    case 'GC': {
      const valid = readValidAttachments(config);
      if (valid) handler.collect(valid);
      return undefined;
    }
    case 'STATUS':
      if (handler.unavailable === undefined) return undefined;
      throw new CniError(
        handler.isStarting ? 'starting' : 'unavailable',
        `connect pods: ${handler.unavailable}`,
      );
    case 'VERSION':
      return versionResult(version);
  }
}

function given(
  { netns }: { readonly netns: string },
  namespace: NetworkNamespace | undefined,
): NetworkNamespace {
  if (namespace) return namespace;
  throw new CniError('environment', `read CNI_NETNS: ${netns} cannot be opened`);
}

function toCniError(cause: unknown): CniError {
  if (cause instanceof CniError) return cause;
  return new CniError('failed', cause instanceof Error ? cause.message : String(cause));
}
