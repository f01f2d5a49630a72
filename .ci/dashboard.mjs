// What .ci/dashboard has a real browser do. It knows the pages by their bar, so that a new one is looked at without a change
// here. Called by .ci/dashboard alone, with everything in the environment.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const { MODULES, PICTURES, PUBLIC, PRIVATE, PROXIED, SECRET, ADMIN, CHROMIUM, ONLY } = process.env;
const require = createRequire(join(MODULES, "x.js"));
const puppeteer = require("puppeteer-core");
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'>javascript:alert(3)\u202Eevil\u2067\u{1F9EF}";
const WIDTHS = [360, 1280, 2560];
const ok = (words) => console.log("ok: " + words);
const fail = (words) => { throw new Error(words); };
const expect = (is, words) => (is ? ok(words) : fail(words));

// ---- data, as Stripe would send it

const now = () => Math.floor(Date.now() / 1000);
async function send(id, type, object) {
  const body = JSON.stringify({ id, object: "event", type, created: now(), livemode: false, api_version: "2026-09-30.x",
    pending_webhooks: 1, request: { id: null, idempotency_key: null }, data: { object } });
  const at = now();
  const mac = createHmac("sha256", SECRET).update(`${at}.${body}`).digest("hex");
  const headers = { "Stripe-Signature": `t=${at},v1=${mac}`, "Content-Type": "application/json" };
  const answer = await fetch(`http://${PUBLIC}/api/v1/webhooks/stripe`, { method: "POST", headers, body });
  if (answer.status !== 200) fail(`event ${id}: ${answer.status} ${await answer.text()}`);
}
const customer = (id, more) => ({ id, object: "customer", created: now(), email: `${id}@example.com`, name: id,
  metadata: {}, livemode: false, ...more });
const subscription = (id, of, more) => ({ id, object: "subscription", created: now(), customer: of, status: "active",
  cancel_at_period_end: false, collection_method: "charge_automatically", currency: "eur", start_date: now(), metadata: {},
  livemode: false, items: { object: "list", has_more: false, data: [{ id: `si_${id}`, object: "subscription_item",
    current_period_start: now(), current_period_end: now() + 2592000, quantity: 1, metadata: {},
    price: { id: "price_pro", object: "price", product: "prod_1", unit_amount: 1900, currency: "eur",
      recurring: { interval: "month", interval_count: 1 } } }] }, ...more });

async function fill() {
  for (const name of ["alice", "bob", "carol"]) {
    await send(`evt_c_${name}`, "customer.created", customer(`cus_${name}`, { metadata: { user_id: name } }));
    await send(`evt_s_${name}`, "customer.subscription.created", subscription(`sub_${name}`, `cus_${name}`));
  }
  await send("evt_alone", "customer.created", customer("cus_nobodys"));
  const long = "long ".repeat(13108);
  const evil = customer("cus_evil", { name: HOSTILE, email: HOSTILE, metadata: { user_id: "evil" + HOSTILE.slice(0, 60) } });
  await send("evt_hostile", "customer.created", evil);
  await send("evt_hostile<b>\u202E", `widget.${HOSTILE}`, { id: HOSTILE, object: "widget", url: "javascript:alert(4)", [HOSTILE]: HOSTILE });
  await send("evt_long", "customer.created", customer("cus_long", { name: long, metadata: { user_id: "long", note: long } }));
  await send("evt_unbroken", "customer.updated", customer("cus_long", { name: "x".repeat(65536), metadata: { user_id: "long" } }));
  let deep = 1;
  for (let level = 0; level < 90; level++) deep = { level: deep };
  await send("evt_deep", "widget.made", { id: "w_deep", object: "widget", deep });
  for (let number = 0; number < 60; number++) await send(`evt_more_${number}`, "widget.made", { id: "w_1", object: "widget", number });
  for (let number = 0; number < 4; number++) {
    await send(`evt_dead_${number}`, "customer.subscription.updated", subscription(`sub_dead_${number}`, "cus_alice", { status: 7 }));
  }
  await until("the events are projected", async () =>
    (await (await fetch(`http://${PRIVATE}/health/webhooks`)).text()).match(/"pending":\s*0\b|"pending_events":\s*0\b/) !== null);
}

async function until(words, is) {
  for (let turn = 0; turn < 200; turn++) {
    if (await is()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  fail("in vain: " + words);
}

// ---- a browser that reports whatever a page should not do

const complaints = [];
async function tab(browser, base, { expected = [] } = {}) {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 900 });
  const origin = new URL(base).origin;
  const note = (words) => { if (!expected.some((known) => words.includes(known))) complaints.push(`${page.url()}: ${words}`); };
  page.on("dialog", (dialog) => { note("a dialog: " + dialog.message()); dialog.dismiss(); });
  page.on("pageerror", (error) => note("an error in a script: " + error.message));
  page.on("console", (message) => { if (["error", "warn", "warning"].includes(message.type())) note("the console: " + message.text()); });
  // The icon of a date field is the browser's own `data:`; those of a page the CSP forbids, and says so.
  page.on("request", (request) => { if (!request.url().startsWith("data:") && new URL(request.url()).origin !== origin) note("asks elsewhere: " + request.url()); });
  page.on("response", (response) => { if (response.status() >= 500) note(`${response.status()} of ${response.url()}`); });
  return page;
}
const quiet = (words) => expect(complaints.length === 0, `${words}: no dialog, no error, no report of the CSP, no request elsewhere`
  + complaints.map((one) => "\n  " + one).join(""));

async function logIn(page, base, token = ADMIN) {
  await page.goto(base + "login", { waitUntil: "load" });
  await page.type("#token", token);
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
}
const bar = (page) => page.$$eval("nav[aria-label=Pages] li a", (links) => links.map((link) => link.getAttribute("href")));
const text = (page) => page.$eval("body", (body) => body.innerText);

async function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return null;
    const wide = [...document.querySelectorAll("body *")].filter((one) =>
      one.getBoundingClientRect().right > width + 1 && !one.closest(".table, pre, .chart"));
    return `${document.documentElement.scrollWidth} of ${width} px: ${wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 120)).join(" | ")}`;
  });
}

async function accessible(page, name) {
  // Evaluated by the browser itself: the page's CSP would forbid a script that is put into it.
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, html: nodes.map((node) => node.html.slice(0, 160)).slice(0, 3) }));
  });
  const grave = found.filter(({ impact }) => impact === "serious" || impact === "critical");
  for (const one of found) console.log(`  axe ${name}: ${one.impact} ${one.id}: ${one.help} ${grave.includes(one) ? one.html.join(" | ") : ""}`);
  if (grave.length) fail(`axe: ${grave.length} serious or critical findings on ${name}`);
}

const fileName = (name) => name.replace(/[^a-z0-9-]+/gi, "_").slice(0, 60) || "overview";

async function look(page, base, name) {
  if (ONLY === "stories") return;
  for (const scheme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    for (const width of WIDTHS) {
      await page.setViewport({ width, height: width === 360 ? 740 : 900 });
      const answer = await page.goto(base + name, { waitUntil: "load" });
      if (!answer.ok()) fail(`${name}: ${answer.status()}`);
      const wide = await overflow(page);
      if (wide) fail(`${name} at ${width} px is wider than the window: ${wide}`);
      await page.screenshot({ path: join(PICTURES, `${fileName(name)}-${width}-${scheme}.png`), fullPage: width !== 2560, captureBeyondViewport: true });
      if (width !== 2560) await accessible(page, `${name || "overview"} at ${width} px, ${scheme}`);
    }
  }
}

// ---- the stories

async function wrongToken(browser, base) {
  const page = await tab(browser, base, { expected: ["401"] });
  await logIn(page, base, "tilld_not_the_token");
  expect((await text(page)).includes("This is not the admin token"), "a wrong token is told so");
  await page.screenshot({ path: join(PICTURES, "login-wrong.png") });
  await accessible(page, "the login after a wrong token");
  await page.close();
}

async function everyPage(browser, base) {
  const page = await tab(browser, base);
  await page.goto(base + "events?type=customer.created", { waitUntil: "load" });
  expect(page.url().includes("login?next="), "without a session a page is the login");
  for (const scheme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.screenshot({ path: join(PICTURES, `login-1280-${scheme}.png`) });
    await accessible(page, `the login, ${scheme}`);
  }
  await page.type("#token", ADMIN);
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  expect(page.url() === base + "events?type=customer.created", "the login leads back to the page that was wanted");
  const missing = [];
  const names = await bar(page);
  for (const name of names.map((link) => (link === "./" ? "" : link))) {
    const answer = await page.evaluate(async (url) => (await fetch(url)).status, base + name);
    if (answer === 404) missing.push(name || "overview");
    else await look(page, base, name);
  }
  if (missing.length) console.log(`SKIPPED: pages that the bar names and that are not there: ${missing.join(", ")}`);
  complaints.splice(0, complaints.length, ...complaints.filter((one) => !one.includes("404")));
  const further = ["event?id=evt_s_alice", "event?id=evt_dead_0", "event?id=evt_hostile", "event?id=evt_hostile%3Cb%3E%E2%80%AE",
    "event?id=evt_long", "event?id=evt_unbroken", "event?id=evt_deep", "event-replay?id=evt_s_alice", "retries",
    "dead-letters-replay?all=1", "dead-letters-discard?id=evt_dead_0", "events?status=dead", "events?object=w_1"];
  if (!missing.includes("users")) further.push("users?q=alice", "users?q=%3Cscript%3E", "user-all?id=many&of=subscriptions", "user?id=alice", "user?id=many", "user?id=long");
  for (const name of further) await look(page, base, name);
  ok(`every page in light and dark at ${WIDTHS.join(", ")} px, none wider than the window, nothing serious from axe`);
  await page.close();
  return missing;
}

async function replayOfADeadLetter(browser, base) {
  const page = await tab(browser, base);
  await page.goto(base + "dead-letters", { waitUntil: "load" });
  await page.click("input[name=id][value=evt_dead_1]");
  await Promise.all([page.waitForNavigation(), page.click("form[action=dead-letters-replay] button")]);
  expect((await text(page)).includes("1 dead letter becomes pending again"), "the replay of a dead letter asks first");
  await Promise.all([page.waitForNavigation(), page.click("form.act button.strong")]);
  expect((await text(page)).includes("Replayed 1 event."), "and says what it has done");
  await page.goto(base + "dead-letters-discard?id=evt_dead_2", { waitUntil: "load" });
  await page.type("#reason", "made by the check " + HOSTILE);
  await Promise.all([page.waitForNavigation(), page.click("form.act button.strong")]);
  expect((await text(page)).includes("Discarded 1 event."), "a dead letter is discarded with a reason");
  await page.close();
}

async function linkingACustomer(browser, base, missing) {
  if (missing.includes("users")) return console.log("SKIPPED: linking a customer: there are no pages of users yet");
  const page = await tab(browser, base);
  await page.goto(base + "user-link?id=bob&object=cus_nobodys", { waitUntil: "load" });
  if (!(await page.$("form.act button.strong"))) fail("user-link asks nothing: " + (await text(page)).slice(0, 300));
  await Promise.all([page.waitForNavigation(), page.click("form.act button.strong")]);
  await page.goto(base + "user?id=bob", { waitUntil: "load" });
  expect((await text(page)).includes("cus_nobodys"), "a customer is linked to a user");
  await page.close();
}

async function byKeyboard(browser, base) {
  const page = await tab(browser, base);
  await page.goto(base + "events", { waitUntil: "load" });
  const focused = () => page.evaluate(() => {
    const one = document.activeElement;
    const box = one.getBoundingClientRect();
    const seen = box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0 // Of a time's parts the browser marks the one in hand by itself.
      && (one.type === "datetime-local" || getComputedStyle(one).outlineStyle !== "none");
    return { name: one.name || one.textContent.trim().slice(0, 40), tag: one.tagName, seen };
  });
  const walked = [];
  for (let step = 0; step < 40; step++) {
    await page.keyboard.press("Tab");
    const at = await focused();
    if (!at.seen) fail(`the focus is not seen on ${at.tag} ${at.name}`);
    walked.push(at.name);
  }
  expect(walked[0] === "To the content", "the first tab is the way past the bar");
  const order = ["To the content", "Overview", "Events", "Log out", "type", "status", "Filter"].map((name) => walked.indexOf(name));
  expect(order.every((place, index) => place >= 0 && (index === 0 || place > order[index - 1])), `tab goes through bar, filter and button: ${walked.join(", ")}`);
  await page.goto(base + "events", { waitUntil: "load" });
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  for (let step = 0; step < 4 && (await focused()).name !== "type"; step++) await page.keyboard.press("Tab");
  await page.keyboard.type("customer.created");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  expect(page.url().includes("type=customer.created"), "a filter is set by keyboard alone");
  await page.close();
}

async function withoutScript(browser, base) {
  const page = await tab(browser, base);
  await page.setJavaScriptEnabled(false);
  await page.goto(base + "events?status=ignored", { waitUntil: "load" });
  await page.goto(base + "dead-letters", { waitUntil: "load" });
  const box = await page.$("input[name=id][value=evt_dead_0]");
  await box.click();
  const button = await page.$("form[action=dead-letters-replay] button");
  await Promise.all([page.waitForNavigation(), button.click()]);
  expect((await page.content()).includes("Replay 1 event"), "without scripts filters and acts work");
  await page.close();
}

async function copying(browser, base) {
  const page = await tab(browser, base);
  await page.goto(base + "event?id=evt_s_alice", { waitUntil: "load" });
  const shown = await page.$$eval("button.copy", (all) => all.filter((one) => !one.hidden).length);
  expect(shown > 0, "with scripts ids have a button that copies");
  await page.close();
}

async function logout(browser, base) {
  const page = await tab(browser, base);
  await page.goto(base + "events", { waitUntil: "load" });
  await Promise.all([page.waitForNavigation(), page.click("form.logout button")]);
  await page.goto(base + "events", { waitUntil: "load" });
  expect(page.url().includes("login"), "after the logout there is no session");
  await page.close();
}

async function behindAPath(browser, base) {
  const page = await tab(browser, base);
  await page.goto(base.replace(/\/$/, ""), { waitUntil: "load" });
  await logIn(page, base);
  const cookies = await page.cookies();
  const session = cookies.find((cookie) => cookie.name === "tilld_session");
  expect(session.secure && session.httpOnly && session.sameSite === "Lax" && session.path === new URL(base).pathname.replace(/\/$/, ""),
    `behind nginx the session is for ${session.path} and https alone`);
  await page.goto(base + "events?status=dead", { waitUntil: "load" });
  await Promise.all([page.waitForNavigation(), page.click("tbody a")]);
  expect(page.url().startsWith(base + "event?id="), "links stay below the path");
  await Promise.all([page.waitForNavigation(), page.click("a.button")]);
  await Promise.all([page.waitForNavigation(), page.click("form.act button.strong")]);
  expect(page.url().startsWith(base) && (await text(page)).includes("Replayed 1 event."), "acts and redirects, too");
  await Promise.all([page.waitForNavigation(), page.click("form.logout button")]);
  expect(page.url() === base + "login", "and the logout");
  await page.close();
}

mkdirSync(PICTURES, { recursive: true });
const browser = await puppeteer.launch({ executablePath: CHROMIUM, acceptInsecureCerts: true,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars=false"] });
try {
  const base = `http://${PRIVATE}/dashboard/`;
  if (ONLY !== "look") await fill();
  if (ONLY === "fill") process.exit(0);
  await wrongToken(browser, base);
  const missing = await everyPage(browser, base);
  await byKeyboard(browser, base);
  await copying(browser, base);
  await withoutScript(browser, base);
  await replayOfADeadLetter(browser, base);
  await linkingACustomer(browser, base, missing);
  await logout(browser, base);
  if (PROXIED) await behindAPath(browser, PROXIED);
  quiet("hostile data and everything else");
} finally {
  await browser.close();
}
