import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import axe from 'axe-core';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

/** Each view with what shows that it is complete. */
const views: readonly (readonly [string, string])[] = [
  ['#/map', '#view'],
  ['#/drops', '.drop-row'],
  ['#/changes', '#view'],
  ['#/flows', '.flow-pool .flow-row'],
  ['#/flows?as=grouped', '.groups-table tbody tr'],
  ['#/flows?f=ns:shop+port:9999', '.checks li'],
  ['#/nodes', '.nodes tbody tr'],
  ['#/workload/payments/ledger', '#view'],
];

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string }[];
}

describe('accessibility', { skip: withoutBrowser }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  for (const theme of ['light', 'dark'] as const) {
    for (const width of [1280, 390]) {
      it(`finds no violation in any view, ${theme}, ${width} pixels wide`, async () => {
        await using lab = await PageLab.open(browser, { theme, width, height: 844 });
        for (const [hash, selector] of views) {
          await lab.go(hash);
          await lab.page.reload();
          await lab.page.locator(selector).first().waitFor();
          await lab.page.evaluate(axe.source);
          const violations: Violation[] = await lab.page.evaluate(
            'axe.run(document, { resultTypes: ["violations"] }).then((result) => result.violations)',
          );
          const found = violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
          assert.deepEqual(found, [], hash);
        }
        assert.deepEqual(lab.faults, []);
      });
    }
  }

  it('has a name for what the pointer opens: the drawer and the menus', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows?f=verdict:dropped' });
    await lab.page.locator('.flow-row.dropped').first().click();
    await lab.page.locator('.flow-drawer .note').waitFor();
    await lab.page.locator('summary', { hasText: 'Columns' }).click();
    await lab.page.locator('#filter').fill('led');
    await lab.page.locator('.find-item').first().waitFor();
    await lab.page.evaluate(axe.source);
    const violations: Violation[] = await lab.page.evaluate(
      'axe.run().then((result) => result.violations)',
    );
    assert.deepEqual(
      violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
      [],
    );
  });

  it('has a mark beside the colour for each drop and refusal', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows' });
    await lab.page.locator('.flow-row.dropped').first().waitFor();
    const unmarked = await lab.page.evaluate(
      `[...document.querySelectorAll('.flow-row.dropped, .flow-row.refused')].filter((row) => !row.querySelector('use[href="#verdict-dropped"], use[href="#verdict-refused"]')).length`,
    );
    assert.equal(unmarked, 0);
  });
});
