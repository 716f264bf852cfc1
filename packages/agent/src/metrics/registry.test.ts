import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseMetrics } from '../../testing/metrics-text.ts';
import { maxSeries, Registry } from './registry.ts';

describe('registry of metrics', () => {
  it('writes the text format', () => {
    let rows = 3;
    const registry = new Registry(() => ({ rows: rows++ }));
    const changes = registry.counter('changes_total', 'Changes.', ['kind']);
    const taken = registry.histogram('taken_seconds', 'Time taken.', [0.1, 1]);
    registry.counter('nothing_total', 'Nothing yet.');
    registry.value('gauge', 'rows', 'Rows.', (facts) => facts.rows);
    registry.value('gauge', 'unknown', 'Not known.', () => undefined);
    registry.samples('gauge', 'entries', 'Entries.', ['map'], () => [[['slots'], 1.5]]);
    changes.add(2, 'service');
    changes.add(1, 'slice');
    changes.add(1, 'service');
    for (const seconds of [0.0625, 0.1, 0.5, 7]) taken.observe(seconds);
    assert.equal(
      registry.render(),
      `# HELP changes_total Changes.
# TYPE changes_total counter
changes_total{kind="service"} 3
changes_total{kind="slice"} 1
# HELP taken_seconds Time taken.
# TYPE taken_seconds histogram
taken_seconds_bucket{le="0.1"} 2
taken_seconds_bucket{le="1"} 3
taken_seconds_bucket{le="+Inf"} 4
taken_seconds_sum 7.6625
taken_seconds_count 4
# HELP nothing_total Nothing yet.
# TYPE nothing_total counter
nothing_total 0
# HELP rows Rows.
# TYPE rows gauge
rows 3
# HELP unknown Not known.
# TYPE unknown gauge
# HELP entries Entries.
# TYPE entries gauge
entries{map="slots"} 1.5
`,
    );
    assert.match(registry.render(), /^rows 4$/m, 'facts are gathered for each request');
  });

  it('writes text that a strict parser accepts, with any labels', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ unit: 'binary' }), { maxLength: 10 }),
        fc.array(fc.double({ noNaN: true, min: 0 }), { maxLength: 20 }),
        (labels, values) => {
          const registry = new Registry(() => 0);
          const counter = registry.counter('a_total', 'A \\ "quoted"\nhelp.', ['label']);
          const histogram = registry.histogram('b', 'B.', [1e-7, 0.5, 1e21]);
          for (const label of labels) counter.add(1, label);
          for (const value of values) histogram.observe(value);
          const families = parseMetrics(registry.render());
          assert.equal(families.get('a_total')!.samples.size, labels.length);
          assert.equal(families.get('b')!.samples.get('b_count'), values.length);
        },
      ),
    );
  });

  it('limits the number of series of each metric', () => {
    const registry = new Registry(() => 0);
    const counter = registry.counter('a_total', 'A.', ['n']);
    const many = Array.from({ length: 1000 }, (_, i) => `${i}`);
    registry.samples('gauge', 'b', 'B.', ['n'], () => many.map((n) => [[n], 1]));
    for (const n of many) counter.add(1, n);
    const families = parseMetrics(registry.render());
    assert.equal(families.get('a_total')!.samples.size, maxSeries);
    assert.equal(families.get('b')!.samples.size, maxSeries);
  });

  it('refuses a second metric of the same name', () => {
    const registry = new Registry(() => 0);
    registry.counter('a_total', 'A.');
    assert.throws(() => registry.counter('a_total', 'A.'), /register metric a_total: there is one/);
  });
});

describe('strict reader', () => {
  const head = '# HELP a A.\n# TYPE a gauge\n';
  for (const [what, text] of [
    ['no end', `${head}a 1`],
    ['no type', '# HELP a A.\na 1\n'],
    ['no help', '# TYPE a gauge\na 1\n'],
    ['another family', `${head}b 1\n`],
    ['a sample twice', `${head}a 1\na 1\n`],
    ['a label twice', `${head}a{x="1",x="2"} 1\n`],
    ['an open quote', `${head}a{x="1} 1\n`],
    ['a wrong escape', `${head}a{x="\\t"} 1\n`],
    ['no value', `${head}a\n`],
    ['an empty line', `${head}\n`],
    ['a counter without its ending', '# HELP a A.\n# TYPE a counter\na 1\n'],
    [
      'falling buckets',
      '# HELP h H.\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
    ],
    ['no last bucket', '# HELP h H.\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_sum 1\nh_count 2\n'],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parseMetrics(text), /read metrics/);
    });
  }
});
