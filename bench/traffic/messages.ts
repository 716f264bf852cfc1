/** Answered, and then the server closes. */
export const request = 'GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n';
/** Answered, and the connection stays. The server looks at the first letter only. */
export const lastingRequest = 'HEAD / HTTP/1.1\r\nHost: bench\r\n\r\n';
/** The response to every request; it is small enough for one segment. */
export const response =
  'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\r\nhello\n';

/** The size of a transfer, which the server acknowledges with a response. */
export const transferBytes = 1_000_000;
/** All bytes of a transfer; no request begins with it. */
export const transferMark = 0;
