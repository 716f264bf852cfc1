import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { DropsAnswer, Explanation, FlowRows } from '@heddle/web/contract';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

/** Names as an attacker who controls DNS, HTTP paths and labels may choose them. */
const hostile = [
  '<img src=x onerror="window.hacked=1">',
  '"><script>window.hacked=1</script>',
  "';window.hacked=1;//",
  'javascript:window.hacked=1',
  '\u202egnp.exe\u202c',
  '{@html name}',
  'a'.repeat(253),
  '=cmd()',
] as const;

describe('names from strangers', { skip: withoutBrowser }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  for (const [index, name] of hostile.entries()) {
    it(`are text wherever they are shown: ${JSON.stringify(name).slice(0, 40)}`, async () => {
      await using lab = await PageLab.open(browser, { hash: '#/nodes' });
      const { context, page } = lab;
      await context.route('**/api/flows?*', async (route) => {
        const response = await route.fetch();
        const rows: FlowRows = await response.json();
        // The dictionary has the names of all columns but the empty one.
        const names = rows.names.map((text, place) => (place === 0 ? text : name));
        await route.fulfill({ response, json: { ...rows, names } });
      });
      await context.route('**/api/drops**', async (route) => {
        const response = await route.fetch();
        if (!response.ok()) return route.fulfill({ response });
        const answer: DropsAnswer | Explanation = await response.json();
        const party = { namespace: name, name, kind: 'Outside' as const };
        const policy = { kind: name, namespace: name, name };
        const change = <Kind extends Omit<Explanation, 'tests'>>(kind: Kind) => ({
          ...{ ...kind, from: party, to: party, name, nodes: [name], service: name },
          rules: kind.rules.map((rule) => ({ ...rule, policy })),
        });
        const json =
          'kinds' in answer
            ? { ...answer, kinds: answer.kinds.map((kind) => change(kind as Explanation)) }
            : {
                ...change(answer),
                tests: answer.tests.map((each) => ({ ...each, rule: name, here: name })),
                source: { kind: name, lines: [name], near: [0, 0], failing: [0] },
              };
        await route.fulfill({ response, json });
      });
      await lab.go('#/flows?from=2026-11-30T14:00:00.000Z&to=2026-11-30T14:10:00.000Z');
      await page.locator('.flow-pool .flow-row').first().click();
      await page.locator('.flow-drawer').waitFor();
      await lab.go(
        `#/drops?by=policy&f=${encodeURIComponent(`path:"${name.replace(/["\\]/g, '')}"`)}`,
      );
      await page.reload();
      await lab.go('#/drops?by=policy');
      await page.locator('.why .sentence').waitFor();
      assert.equal(await page.evaluate('window.hacked'), undefined);
      assert.equal(await page.locator('main img, main script').count(), 0);
      const shown = await page.locator('.why .party').first().textContent();
      assert.ok(shown?.includes(name.trim()), `${index}: ${shown}`);
      assert.deepEqual(lab.faults, []);
      await context.unrouteAll({ behavior: 'ignoreErrors' });
    });
  }

  it('cannot make the page load or run anything that is not its own', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/nodes' });
    await lab.page.locator('.nodes tbody tr').first().waitFor();
    const blocked = await lab.page.evaluate(`(() => {
      const script = document.createElement('script');
      script.textContent = 'window.hacked = 1';
      document.body.append(script);
      return window.hacked === undefined;
    })()`);
    assert.equal(blocked, true);
    assert.equal(lab.faults.length, 1);
    assert.match(lab.faults[0]!, /Content Security Policy/);
  });
});
