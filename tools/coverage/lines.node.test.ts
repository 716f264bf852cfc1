import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { coveragePage } from './html.ts';
import { functionOf, judge } from './lines.ts';

const source = `struct none {
	int field;
};

INLINE int first(struct one *a,
		 int b)
{
	if (b < 1)
		return 2;
	return a->field;
}

SEC("tc") int second(struct __sk_buff *ctx)
{
	return 2;
}

#define TWICE(n) \\
	int hook##n(void) \\
	{ \\
	}

TWICE(4)`.split('\n');
const lineOf = (text: string) => source.findIndex((line) => line.includes(text)) + 1;

describe('lines that no test runs', () => {
  it('are identified by their function', () => {
    for (const [text, name] of [
      ['if (b < 1)', 'first'],
      ['return a->field', 'first'],
      ['int field', ''],
      ['int hook', ''],
      ['TWICE(4)', ''],
    ] as const) {
      assert.equal(functionOf(source, lineOf(text)), name, text);
    }
    assert.equal(functionOf(source, lineOf('SEC("tc")') + 2), 'second');
  });

  const sources = new Map([['bpf/x.h', source]]);
  const lines = new Map([
    [
      'bpf/x.h',
      new Map([
        [lineOf('if (b < 1)'), 3],
        [lineOf('return 2'), 0],
        [lineOf('return a->field'), 0],
      ]),
    ],
  ]);
  const here = { file: 'bpf/x.h', function: 'first' };

  it('must have a reason, and reasons must have a line', () => {
    const reasons = [
      { ...here, line: 'return 2;', reason: 'nobody asks' },
      { ...here, line: 'if (b < 1)', reason: 'covered by now' },
      { ...here, function: 'second', line: 'return 2;', reason: 'of another function' },
    ];
    const { uncovered, stale } = judge(lines, sources, reasons);
    assert.deepEqual(
      uncovered.map(({ line, reason }) => [line, reason]),
      [
        ['return 2;', 'nobody asks'],
        ['return a->field;', undefined],
      ],
    );
    assert.deepEqual(stale, reasons.slice(1));
  });

  it('keep their reasons when lines are inserted before them', () => {
    const moved = new Map([['bpf/x.h', ['', '', ...source]]]);
    const counts = new Map([['bpf/x.h', new Map([[lineOf('return 2') + 2, 0]])]]);
    const reasons = [{ ...here, line: 'return 2;', reason: 'nobody asks' }];
    assert.deepEqual(judge(counts, moved, reasons).stale, []);
  });

  it('are shown with their reasons, escaped as text', () => {
    const { uncovered } = judge(lines, sources, [
      { ...here, line: 'return 2;', reason: 'a < b & "c"' },
    ]);
    const page = coveragePage(lines, sources, uncovered, 'today');
    assert.match(
      page,
      /<tr class="ran" id="bpf\/x\.h:8"><td>8<\/td><td>3<\/td><td>\tif \(b &lt; 1\)/,
    );
    assert.match(page, /<tr class="not".*return 2;<i>a &lt; b &amp; &quot;c&quot;<\/i>/);
    assert.match(page, /1 of 3, 33\.3 %/);
    assert.doesNotMatch(page, /<(script|link|img)|https?:/);
  });
});
