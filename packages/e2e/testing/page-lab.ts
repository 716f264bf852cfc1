import { existsSync } from 'node:fs';
import { clusters } from '@heddle/web/testing/clusters';
import { ScriptedRelay } from '@heddle/web/testing/relay';
import { ScriptedServer } from '@heddle/web/testing/server';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const executablePath = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find(existsSync);

/** The option `skip` of tests with a browser: a sentence if there is none. In CI there must be one. */
export const withoutBrowser: string | false =
  executablePath !== undefined || process.env.CI === 'true' ? false : 'chromium is not installed';

/** Starts a browser without a window. */
export function launchBrowser(): Promise<Browser> {
  if (executablePath === undefined) throw new Error('start a browser: chromium is not installed');
  return chromium.launch({
    executablePath,
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  });
}

/** The choices of a PageLab. */
export interface PageLabOptions {
  readonly cluster?: keyof typeof clusters;
  readonly flowsPerSecond?: number;
  readonly width?: number;
  readonly height?: number;
  readonly theme?: 'light' | 'dark';
  /** The fragment of the URL, from the number sign on. */
  readonly hash?: string;
}

/** The relay's clock begins here, so that the page's times are the same in each run; the browser is in UTC. */
export const startTime = Date.UTC(2026, 10, 30, 14, 10, 32);

/** A page in a browser, served by a scripted relay. */
export class PageLab implements AsyncDisposable {
  readonly relay: ScriptedRelay;
  readonly server: ScriptedServer;
  readonly context: BrowserContext;
  readonly page: Page;
  /** Errors of the page, messages of the content security policy, and requests to other places. */
  readonly faults: string[] = [];

  private constructor(
    relay: ScriptedRelay,
    server: ScriptedServer,
    context: BrowserContext,
    page: Page,
  ) {
    this.relay = relay;
    this.server = server;
    this.context = context;
    this.page = page;
    page.on('pageerror', (error) => this.faults.push(error.message));
    page.on('console', (message) => {
      // A relay that does not answer is a fault of some tests' relay, not of the page.
      const isLoad = /Failed to load resource|net::ERR_/.test(message.text());
      if (message.type() === 'error' && !isLoad) this.faults.push(message.text());
    });
    page.on('request', (request) => {
      const url = request.url();
      const isOwn = [server.url, 'data:', 'blob:'].some((start) => url.startsWith(start));
      if (!isOwn) this.faults.push(`request to ${url}`);
    });
  }

  static async open(browser: Browser, options: PageLabOptions = {}): Promise<PageLab> {
    const { cluster = 'shop-berlin', width = 1280, height = 800, theme = 'light' } = options;
    const started = performance.now();
    const now = () => Math.round(startTime + performance.now() - started);
    const relay = new ScriptedRelay(clusters[cluster](), now, options.flowsPerSecond);
    const server = new ScriptedServer(relay);
    await server.start();
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme: theme,
      timezoneId: 'UTC',
      reducedMotion: 'reduce',
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    context.setDefaultTimeout(15_000);
    const lab = new PageLab(relay, server, context, await context.newPage());
    await lab.go(options.hash ?? '');
    return lab;
  }

  /** Opens a fragment of the page's URL. */
  async go(hash: string): Promise<void> {
    await this.page.goto(`${this.server.url}${hash}`);
  }

  /** The fragment of the page's URL. */
  get hash(): string {
    return new URL(this.page.url()).hash;
  }

  /** Returns the text of the clipboard. */
  clipboard(): Promise<string> {
    return this.page.evaluate('navigator.clipboard.readText()');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.context.close();
    await this.server.stop();
  }
}
