import { connect, type Socket } from 'node:net';
import { eventually } from '@heddle/sys/testing/eventually';
import { encodeRequest, parseReply } from '../src/control/protocol.ts';

/** A client of an agent's control socket. */
export class Talk {
  readonly socket: Socket;
  readonly replies: ReturnType<typeof parseReply>[] = [];
  #id = 0;

  constructor(path: string) {
    this.socket = connect(path);
    let text = '';
    this.socket.on('error', () => {});
    this.socket.on('data', (data) => {
      text += data;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        this.replies.push(parseReply(text.slice(0, end)));
        text = text.slice(end + 1);
      }
    });
  }

  /** Returns the next line that the agent sends. */
  async reply(): Promise<ReturnType<typeof parseReply>> {
    return eventually('there is a reply', () => this.replies.shift(), { stepMs: 5 });
  }

  /** Asks, and gives the result. Throws an Error with the code of an error. */
  async ask<Result>(method: string, params: Record<string, unknown> = {}): Promise<Result> {
    this.socket.write(encodeRequest({ id: ++this.#id, method, params }));
    const { error, result } = await this.reply();
    if (error) throw new Error(`${error.code}: ${error.message}`);
    return result as Result;
  }
}
