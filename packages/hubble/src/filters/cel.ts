import { celEnv, isCelError, parse, plan } from '@bufbuild/cel';
import { create, createRegistry } from '@bufbuild/protobuf';
import { type Flow, FlowSchema, file_flow_flow } from '../generated/flow/flow_pb.js';
import { FilterError } from './errors.ts';
import { checkLength } from './patterns.ts';

const environment = celEnv({ registry: createRegistry(file_flow_flow), namespace: 'flow' });

/**
 * Compiles expressions of the Common Expression Language about the variable `_flow`, e.g.
 * `_flow.verdict == Verdict.DROPPED`. A flow for which one is true matches; one that fails for a flow, e.g.
 * because a list is too short, does not match it. Throws FilterError that names `field` if an expression
 * cannot be read, names an unknown field, or is not boolean.
 */
export function anyExpression(
  field: string,
  expressions: readonly string[],
): (flow: Flow) => boolean {
  const programs = expressions.map((expression) => program(field, expression));
  return (flow) => programs.some((each) => each({ _flow: flow }) === true);
}

function program(field: string, expression: string) {
  checkLength(field, expression);
  const refuse = (why: string, cause?: unknown) =>
    new FilterError(field, `"${expression}": ${why}`, { cause });
  let compiled: ReturnType<typeof plan>;
  try {
    compiled = plan(environment, parse(expression));
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
  // There is no type check, so the expression is tried with a flow that has no values.
  const result = compiled({ _flow: create(FlowSchema) });
  if (isCelError(result)) {
    if (/field not found|unresolved|unknown|no such/i.test(result.message)) {
      throw refuse(result.message);
    }
  } else if (typeof result !== 'boolean') {
    throw refuse('the result is not boolean');
  }
  return compiled;
}
