import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

describe('the view of drops', { skip: withoutBrowser }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  it('says why checkout cannot reach ledger, and which rule would let it in', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/map' });
    const { page } = lab;
    await page.locator('.views .badge', { hasText: '3 now' }).waitFor();
    await page.locator('.views a', { hasText: 'Drops' }).click();
    await page.locator('.drop-row', { hasText: 'No ingress rule lets this in' }).click();
    const why = page.locator('.why');
    await why
      .getByText(
        'asks for TCP 8443; the nearest rule, ingress rule 2, lets it in, but on TCP 8080 only.',
      )
      .waitFor();
    const port = why.locator('.tests tr.failing');
    assert.equal(await port.count(), 1);
    assert.match(await port.innerText(), /Port\s+TCP 8080\s+TCP 8443\s+✕ does not fit/);
    assert.match(
      await why.locator('.yaml .failing').innerText(),
      /port: 8080.*← asks for TCP 8443/,
    );
    await why.getByText('6 s after: Rollout of shop/checkout, revision 41').waitFor();
    assert.equal(await why.locator('.would-allow').count(), 0);
    await why.getByRole('button', { name: 'Rule that would let it in' }).click();
    await why.getByText('This would also let in 0 others, 0 of which asked in 24 h.').waitFor();
    await why.locator('.would-allow button').click();
    assert.match(await lab.clipboard(), /port: 8443/);
    await why.getByRole('link', { name: 'Show the flows' }).click();
    await page.locator('.flow-row.dropped').first().waitFor();
    assert.equal(
      lab.hash,
      '#/flows?f=from:shop/checkout+to:payments/ledger+port:8443+verdict:dropped',
    );
    await page.goBack();
    await why.locator('.sentence', { hasText: 'asks for TCP 8443' }).waitFor();
    await page.goBack();
    await page.goBack();
    assert.equal(lab.hash, '#/map');
    assert.deepEqual(lab.faults, []);
  });

  it('orders drops by policy and by victim, and keeps that in the URL', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/drops' });
    const groups = lab.page.locator('.drop-group bdi');
    await lab.page.getByRole('button', { name: 'By policy' }).click();
    await lab.page.locator('.drop-group', { hasText: 'preview/egress-shop-only' }).waitFor();
    assert.ok((await groups.allInnerTexts()).includes('payments/ledger-ingress'));
    await lab.page.getByRole('button', { name: 'By victim' }).click();
    await lab.page.locator('.drop-group', { hasText: 'shop/checkout' }).waitFor();
    assert.equal(lab.hash, '#/drops?by=victim');
    await lab.page.reload();
    await lab.page.locator('.drop-group', { hasText: 'shop/checkout' }).waitFor();
  });

  it('leaves a muted kind out of the badge and keeps it in a folded group', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/drops' });
    const { page } = lab;
    await page.locator('.drop-row', { hasText: 'No egress rule lets this out' }).click();
    await page.getByText('may send only what an egress rule').waitFor();
    await page.getByRole('button', { name: 'Expected: mute' }).click();
    await page.locator('.views .badge', { hasText: '2 now' }).waitFor();
    await page.getByText('1 muted').click();
    await page.locator('.muted .drop-row', { hasText: 'No egress rule' }).waitFor();
    await page.reload();
    await page.locator('.views .badge', { hasText: '2 now' }).waitFor();
  });

  it('is used with the keyboard alone', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/map' });
    const { page } = lab;
    await page.locator('.views .badge', { hasText: '3 now' }).waitFor();
    await page.keyboard.press('2');
    const rows = page.locator('.drop-row');
    await rows.first().waitFor();
    await rows.first().focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.getByText('may send only what an egress rule').waitFor();
    assert.match(lab.hash, /^#\/drops\?d=/);
    await page.keyboard.press('Escape');
    assert.equal(lab.hash, '#/drops');
  });
});
