import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { launchBrowser, PageLab, withoutBrowser } from '../testing/page-lab.ts';

describe('a page that shows nothing', { skip: withoutBrowser }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  it('names the word of the filter that leaves nothing, and removes it', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows?f=ns:shop+port:9999' });
    const { page } = lab;
    await page.getByText('No flow of ns:shop has port:9999').first().waitFor();
    const seen = await page.locator('.checks .failed .dim').innerText();
    assert.match(seen, /8080.*5432/);
    await page.locator('.button.primary', { hasText: 'Remove port:9999' }).click();
    await page.locator('.flow-pool .flow-row').first().waitFor();
    assert.equal(lab.hash, '#/flows?f=ns:shop');
    assert.deepEqual(lab.faults, []);
  });

  it('asks whether another namespace is meant', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows?f=ns:shpo' });
    await lab.page.getByText('There is no namespace shpo. Is shop meant?').first().waitFor();
    await lab.page.locator('.button.primary', { hasText: 'Use ns:shop' }).click();
    assert.equal(lab.hash, '#/flows?f=ns:shop');
  });

  it('says that a range is before what is kept', async () => {
    const range = 'from=2026-11-01T10:00:00.000Z&to=2026-11-01T11:00:00.000Z';
    await using lab = await PageLab.open(browser, { hash: `#/flows?${range}` });
    await lab.page.getByText('Kept since 29 Nov, 14:10. Shown from there.').waitFor();
    await lab.page.getByText('The window begins before what is kept.').first().waitFor();
  });

  it('says that a node is missing, and leads to the nodes', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows' });
    lab.relay.faults.missingNodes = 1;
    await lab.page.getByText('1 node of 4 sends nothing: its pods are missing here.').waitFor();
    await lab.page.locator('.nodes-link.missing', { hasText: '3 of 4 nodes' }).click();
    await lab.page.getByText(/rack1-a sends nothing since 14:04: its \d+ pods/).waitFor();
  });

  it('says that the agents report no flows', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/drops' });
    lab.relay.faults.isWithoutFlows = true;
    await lab.go('#/flows');
    await lab.page.reload();
    await lab.page.getByText('The agents report no flows').first().waitFor();
  });

  it('keeps its picture while the relay is stopped, and is live again by itself', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/flows' });
    const { page } = lab;
    await page.locator('.flow-pool .flow-row').first().waitFor();
    await lab.server.stop();
    await page.locator('.live.silent', { hasText: 'Not live' }).waitFor();
    await page.getByText(/^No word from the relay for \d+ s\.$/).waitFor();
    assert.ok((await page.locator('.flow-pool .flow-row').count()) > 10);
    await lab.server.start();
    await page.locator('.live:not(.silent)', { hasText: 'Live' }).waitFor();
    await page.locator('.note.floating').waitFor({ state: 'detached' });
  });

  it('notices a relay that says nothing on an open connection', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/drops' });
    await lab.page.locator('.drop-row').first().waitFor();
    lab.relay.faults.isSilent = true;
    await lab.page.locator('.live.silent').waitFor();
    lab.relay.faults.isSilent = false;
    await lab.page.getByRole('button', { name: 'Try now' }).click();
    await lab.page.locator('.live:not(.silent)').waitFor();
  });

  it('offers to reload after the relay was updated, and does not do it by itself', async () => {
    await using lab = await PageLab.open(browser, { hash: '#/drops' });
    await lab.page.locator('.drop-row').first().waitFor();
    await lab.server.stop();
    lab.relay.faults.version = '0.4.0';
    await lab.server.start();
    await lab.page.getByText('The relay was updated.').waitFor();
  });
});
