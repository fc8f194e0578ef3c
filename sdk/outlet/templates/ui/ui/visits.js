// A web component: the screen makes it, gives it `data` (what the component's route answers), and shows it.
export default class Visits extends HTMLElement {
  set data({ customerId, visits }) {
    this.textContent = visits === 1 ? "First visit" : `${visits} visits`;
    this.title = customerId;
  }
}
