import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { jsonLine, readableLine } from './log.ts';

const time = '2026-01-02T03:04:05.678Z';

describe('log lines', () => {
  it('log lines are JSON with the fields after the message', () => {
    const line = jsonLine('info', 'a "quoted"\nmessage', { cookie: 7n, none: undefined }, time);
    assert.equal(
      line,
      `{"time":"${time}","level":"info","message":"a \\"quoted\\"\\nmessage","cookie":"7"}\n`,
    );
  });

  it('log lines are readable text on a terminal', () => {
    const fields = { subject: 'x', node: 'n1', list: [1], none: undefined };
    assert.equal(
      readableLine('info', 'agent started', fields, time, { NO_COLOR: '1' }),
      '03:04:05.678 info  agent started  node=n1  list=[1]\n',
    );
    assert.equal(
      readableLine('warn', 'careful', {}, time, {}),
      '\u001b[33m03:04:05.678 warn  careful\u001b[0m\n',
    );
  });
});
