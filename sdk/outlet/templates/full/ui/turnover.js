// A web component: the screen makes it, gives it `data` (what the component's route answers), and shows it.
export default class Turnover extends HTMLElement {
  set data({ total, goal }) {
    const meter = document.createElement("meter");
    meter.max = goal;
    meter.value = Number(total);
    this.replaceChildren(`${total} of ${goal} `, meter);
  }
}
