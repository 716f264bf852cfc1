import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import type { NearestRule } from '@heddle/agent';
import { protocolText } from '@heddle/datapath';
import { parseIp } from '@heddle/sys';
import { TrafficDirection } from '../generated/flow/flow_pb.js';
import type {
  Denials,
  GetNearestRuleRequest,
  GetNearestRuleResponseSchema,
} from '../generated/heddle/denials_pb.js';
import type { DefaultDenial } from '../sources/denial-reasons.ts';

/** The questions in a second: each makes the agent look at all policies of a pod. */
const perSecond = 20;

/** Returns the answer of the agent to `policy.nearest`. */
export type AskNearest = (denial: DefaultDenial) => Promise<NearestRule>;

/** Returns the service that answers from an agent. `now` returns milliseconds since any moment. */
export function denialService(ask: AskNearest, now = Date.now): ServiceImpl<typeof Denials> {
  let [began, asked] = [0, 0];
  return {
    getNearestRule: async (request) => {
      const denial = denialOf(request);
      if (now() - began >= 1000) [began, asked] = [now(), 0];
      if (++asked > perSecond) {
        throw new ConnectError(
          `get nearest rule: more than ${perSecond} questions in a second (ask again later)`,
          Code.ResourceExhausted,
        );
      }
      return responseOf(await answerOf(ask, denial));
    },
  };
}

async function answerOf(ask: AskNearest, denial: DefaultDenial): Promise<NearestRule> {
  try {
    return await ask(denial);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConnectError(
      `get nearest rule: ${why}`,
      Code.Unavailable,
      undefined,
      undefined,
      cause,
    );
  }
}

/** Returns the connection of a question. Throws ConnectError. */
function denialOf({
  source,
  destination,
  protocol,
  port,
  direction,
}: GetNearestRuleRequest): DefaultDenial {
  const sides = {
    [TrafficDirection.INGRESS]: 'ingress',
    [TrafficDirection.EGRESS]: 'egress',
  } as const;
  const side =
    direction === TrafficDirection.TRAFFIC_DIRECTION_UNKNOWN ? undefined : sides[direction];
  const problem =
    (parseIp(source) ? '' : 'source is no IP address') ||
    (parseIp(destination) ? '' : 'destination is no IP address') ||
    (port <= 65_535 ? '' : 'port is above 65535') ||
    (side ? '' : 'direction is neither INGRESS nor EGRESS');
  if (problem !== '' || !side) {
    throw new ConnectError(`get nearest rule: ${problem}`, Code.InvalidArgument);
  }
  return { source, destination, protocol: protocolText(protocol), port, direction: side };
}

function responseOf({
  tests,
  others,
  source,
}: NearestRule): MessageInitShape<typeof GetNearestRuleResponseSchema> {
  const from = source && {
    ...{ policy: source.policy, lines: [...source.lines], failing: [...source.failing] },
    ...{ first: source.near[0], last: source.near[1] },
  };
  return { tests: [...tests], others, ...from };
}
